#include "backends/parallel/mpi/mpi_transport.h"

#include <array>
#include <list>
#include <optional>

#include <fmt/format.h>

#include "backends/parallel/mpi/mpi_calls.h"
#include "backends/parallel/part_holders.h"
#include "core/error.h"

namespace mlbench::parallel {
namespace {

using backends::KvEndpoint;
using backends::KvEntries;

constexpr int kTagOfBoth = 4;            // of making the communicator
constexpr Index kMostAtATime = 1 << 14;  // caches, whose messages tags tell apart: a tag may be up to 2^15 - 1

// A KvEndpoint as numbers.
using EndpointNumbers = std::array<Index, 8>;
EndpointNumbers numbers_of(const KvEndpoint& e) {
  return {e.split.tensor_parallel,
          e.split.pipeline_parallel,
          e.layers,
          e.heads,
          e.width,
          static_cast<Index>(e.dtype),
          e.page_size,
          e.slots};
}
KvEndpoint endpoint_of(const EndpointNumbers& n) {
  return {.split = {n[0], n[1]},
          .layers = n[2],
          .heads = n[3],
          .width = n[4],
          .dtype = static_cast<DType>(n[5]),
          .page_size = n[6],
          .slots = n[7]};
}

// What announces entries: numbers of the list of slots, bytes of the keys, and as many of the values.
using Announcement = std::array<Index, 2>;

// The two instances, and what is on its way from this rank.
class Wire {
 public:
  Wire(const backends::RunConfig& run, Index rank, std::atomic<Doing>& doing)
      : split_(split_of(run)),
        place_(rank % split_.workers()),
        first_of_other_(rank - place_ + (rank < workers_of_instance(run) ? 1 : -1) * workers_of_instance(run)),
        both_(numbered(0, workers_of(run)), kTagOfBoth),
        doing_(doing) {}
  ~Wire() {
    for (Sent& sent : sent_) {
      MPI_Cancel(&sent.request);
      MPI_Request_free(&sent.request);
    }
  }
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  [[nodiscard]] const Split& split() const { return split_; }
  [[nodiscard]] Index first_of_other() const { return first_of_other_; }

  void send(std::span<const std::byte> bytes, int tag) {
    in_pieces(bytes, [&](const std::byte* data, int count) {
      Sent& sent = sent_.emplace_back();
      sent.bytes.assign(data, data + count);
      // NOLINTNEXTLINE(clang-analyzer-optin.mpi.MPI-Checker): moving() tests it until it is done
      check(MPI_Isend(sent.bytes.data(), count, MPI_BYTE, peer(), tag, both_.get(), &sent.request),
            "entries to the other instance");
    });
  }
  void receive(std::span<std::byte> bytes, int tag) {
    const Waiting waiting(doing_);
    in_pieces(bytes, [&](std::byte* data, int count) {
      check(MPI_Recv(data, count, MPI_BYTE, peer(), tag, both_.get(), MPI_STATUS_IGNORE),
            "entries from the other instance");
    });
  }
  [[nodiscard]] bool moving() {
    std::erase_if(sent_, [](Sent& sent) {
      int gone = 0;
      check(MPI_Test(&sent.request, &gone, MPI_STATUS_IGNORE), "entries to the other instance");
      return gone != 0;
    });
    return !sent_.empty();
  }

 private:
  struct Sent {
    std::vector<std::byte> bytes;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  // The same worker of the other instance.
  [[nodiscard]] int peer() const { return static_cast<int>(first_of_other_ + place_); }

  Split split_;
  Index place_, first_of_other_;
  Communicator both_;
  std::atomic<Doing>& doing_;
  std::list<Sent> sent_;  // whose bytes stay where they are
};

template <class T>
std::span<const std::byte> bytes_of(const T& values) {
  return std::as_bytes(std::span(values));
}
template <class T>
std::span<std::byte> room_in(T& values) {
  return std::as_writable_bytes(std::span(values));
}

class MpiTransport final : public backends::KvTransport {
 public:
  MpiTransport(std::shared_ptr<Wire> wire, Index cache)
      : wire_(std::move(wire)), about_(static_cast<int>(2 * cache)), entries_(about_ + 1) {}

  void attach(const KvEndpoint& own) override {
    own_ = own;
    own_.split = wire_->split();
    wire_->send(bytes_of(numbers_of(own_)), about_);
  }
  [[nodiscard]] KvEndpoint own() const override { return own_; }

  // Waits for its cache to be attached.
  [[nodiscard]] KvEndpoint receiver(Index receiver_offset) const override {
    if (receiver_offset != wire_->first_of_other()) {
      throw request_error(
          "kv.bad_argument",
          fmt::format("disagg_mark_send: receiver_offset = {}: no other instance begins there", receiver_offset));
    }
    if (!other_) {
      EndpointNumbers numbers{};
      wire_->receive(room_in(numbers), about_);
      other_ = endpoint_of(numbers);
    }
    return *other_;
  }

  void send(Index /*receiver_offset*/, const KvEntries& entries) override {
    const std::vector<Index> slots = entries.slots.encoded();
    wire_->send(bytes_of(Announcement{static_cast<Index>(slots.size()), static_cast<Index>(entries.keys.size())}),
                entries_);
    wire_->send(bytes_of(slots), entries_);
    each_layer(entries, [&](const auto& values, std::size_t first, std::size_t count) {
      wire_->send(bytes_of(values).subspan(first, count), entries_);
    });
  }

  [[nodiscard]] KvEntries receive() override {
    Announcement announced{};
    wire_->receive(room_in(announced), entries_);
    std::vector<Index> slots(static_cast<std::size_t>(announced[0]));
    wire_->receive(room_in(slots), entries_);
    KvEntries entries{.slots = SlotRuns::decoded(slots), .keys = {}, .values = {}};
    for (auto* values : {&entries.keys, &entries.values}) values->resize(static_cast<std::size_t>(announced[1]));
    each_layer(entries, [&](auto& values, std::size_t first, std::size_t count) {
      wire_->receive(room_in(values).subspan(first, count), entries_);
    });
    return entries;
  }

 private:
  // Keys, then values, of a layer after another.
  template <class Entries, class Visit>
  void each_layer(Entries& entries, const Visit& visit) const {
    const auto layers = static_cast<std::size_t>(own_.layers);
    const std::size_t bytes = entries.keys.size() / layers;
    for (std::size_t layer = 0; layer < layers; ++layer) {
      for (auto* values : {&entries.keys, &entries.values}) visit(*values, layer * bytes, bytes);
    }
  }

  std::shared_ptr<Wire> wire_;
  int about_, entries_;  // tags
  KvEndpoint own_;
  mutable std::optional<KvEndpoint> other_;  // once it has said
};

class MpiTransports final : public backends::KvTransports {
 public:
  MpiTransports(const backends::RunConfig& run, Index rank, std::atomic<Doing>& doing)
      : wire_(std::make_shared<Wire>(run, rank, doing)) {}

  [[nodiscard]] std::shared_ptr<backends::KvTransport> next() override {
    return std::make_shared<MpiTransport>(wire_, caches_++ % kMostAtATime);
  }
  [[nodiscard]] bool moving() override { return wire_->moving(); }

 private:
  std::shared_ptr<Wire> wire_;
  Index caches_ = 0;
};

}  // namespace

std::shared_ptr<backends::KvTransports> make_mpi_transports(const backends::RunConfig& run, Index rank,
                                                            std::atomic<Doing>& doing) {
  return std::make_shared<MpiTransports>(run, rank, doing);
}

}  // namespace mlbench::parallel
