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

}  // namespace

std::string_view name(Activity activity) {
  switch (activity) {
    case Activity::work: return "work";
    case Activity::all_reduce: return "all-reduce";
    case Activity::send: return "send";
    case Activity::receive: return "receive";
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
  }
  if (times_.events.size() < kMostEvents) times_.events.push_back({activity, begin, end});
}

WorkerTimes Recorder::take() { return std::exchange(times_, {}); }

std::shared_ptr<backends::Group> recorded(std::shared_ptr<backends::Group> group, Recorder& recorder) {
  return std::make_shared<RecordedGroup>(std::move(group), recorder);
}

}  // namespace mlbench::parallel
