#include "backends/parallel/recorder.h"

#include <utility>

namespace mlbench::parallel {
namespace {

constexpr std::size_t kMostEvents = 200'000;  // what nobody takes is not kept for ever

class RecordedGroup final : public backends::Group {
 public:
  RecordedGroup(std::shared_ptr<backends::Group> group, Recorder& recorder)
      : group_(std::move(group)), recorder_(recorder) {}

  void all_reduce(std::span<float> values) override {
    note(Activity::all_reduce, values.size_bytes(), [&] { group_->all_reduce(values); });
  }
  void send_on(std::span<const std::byte> bytes) override {
    note(Activity::send, bytes.size(), [&] { group_->send_on(bytes); });
  }
  void receive(std::span<std::byte> bytes) override {
    note(Activity::receive, bytes.size(), [&] { group_->receive(bytes); });
  }

 private:
  template <class Work>
  void note(Activity activity, std::size_t bytes, const Work& work) {
    const double begin = Recorder::now();
    work();
    recorder_.note(activity, begin, Recorder::now(), bytes);
  }

  std::shared_ptr<backends::Group> group_;
  Recorder& recorder_;
};

class RecordedTransport final : public backends::KvTransport {
 public:
  RecordedTransport(std::shared_ptr<backends::KvTransport> transport, Recorder& recorder)
      : transport_(std::move(transport)), recorder_(recorder) {}

  void attach(const backends::KvEndpoint& own) override { transport_->attach(own); }
  [[nodiscard]] backends::KvEndpoint own() const override { return transport_->own(); }
  [[nodiscard]] backends::KvEndpoint receiver(Index receiver_offset) const override {
    return transport_->receiver(receiver_offset);
  }
  void send(Index receiver_offset, const backends::KvEntries& entries) override {
    const double begin = Recorder::now();
    transport_->send(receiver_offset, entries);
    recorder_.note(Activity::transfer, begin, Recorder::now(), entries.keys.size() + entries.values.size());
  }
  [[nodiscard]] backends::KvEntries receive() override {
    const double begin = Recorder::now();
    backends::KvEntries entries = transport_->receive();
    recorder_.note(Activity::transfer, begin, Recorder::now());
    return entries;
  }

 private:
  std::shared_ptr<backends::KvTransport> transport_;
  Recorder& recorder_;
};

class RecordedTransports final : public backends::KvTransports {
 public:
  RecordedTransports(std::shared_ptr<backends::KvTransports> transports, Recorder& recorder)
      : transports_(std::move(transports)), recorder_(recorder) {}

  [[nodiscard]] std::shared_ptr<backends::KvTransport> next() override {
    return std::make_shared<RecordedTransport>(transports_->next(), recorder_);
  }
  [[nodiscard]] bool moving() override { return transports_->moving(); }

 private:
  std::shared_ptr<backends::KvTransports> transports_;
  Recorder& recorder_;
};

}  // namespace

std::string_view name(Activity activity) {
  switch (activity) {
    case Activity::work: return "work";
    case Activity::all_reduce: return "all-reduce";
    case Activity::send: return "send";
    case Activity::receive: return "receive";
    case Activity::transfer: return "transfer";
  }
  return "?";
}

void Recorder::note(Activity activity, double begin, double end, std::size_t bytes) {
  const double seconds = end - begin;
  switch (activity) {
    case Activity::work: times_.busy += seconds; break;
    case Activity::all_reduce:
      times_.all_reduce += seconds;
      times_.reduced_bytes += bytes;
      break;
    case Activity::send:
      times_.send += seconds;
      times_.sent_bytes += bytes;
      break;
    case Activity::receive: times_.receive += seconds; break;
    case Activity::transfer:
      times_.transfer += seconds;
      times_.transferred_bytes += bytes;
      break;
  }
  if (times_.events.size() < kMostEvents) times_.events.push_back({activity, begin, end});
}

WorkerTimes Recorder::take() { return std::exchange(times_, {}); }

std::shared_ptr<backends::Group> recorded(std::shared_ptr<backends::Group> group, Recorder& recorder) {
  return std::make_shared<RecordedGroup>(std::move(group), recorder);
}

std::shared_ptr<backends::KvTransports> recorded(std::shared_ptr<backends::KvTransports> transports,
                                                 Recorder& recorder) {
  return std::make_shared<RecordedTransports>(std::move(transports), recorder);
}

}  // namespace mlbench::parallel
