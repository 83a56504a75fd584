#include "backends/in_process_kv.h"

#include <deque>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::backends {

class InProcessKv::End final : public KvTransport {
 public:
  End(InProcessKv& all, const Split& split, Index first, Index number)
      : all_(all), split_(split), first_(first), number_(number) {}

  void attach(const KvEndpoint& own) override {
    own_ = own;
    own_.split = split_;
  }
  [[nodiscard]] KvEndpoint own() const override { return own_; }
  [[nodiscard]] KvEndpoint receiver(Index receiver_offset) const override {
    const End& to = peer(receiver_offset);
    if (to.own_.slots > 0) return to.own_;
    throw request_error("kv.state", fmt::format("disagg_mark_send: worker {} has no cache yet", to.number_));
  }
  void send(Index receiver_offset, const KvEntries& entries) override {
    peer(receiver_offset).arrived_.push_back(entries);
  }
  [[nodiscard]] KvEntries receive() override {
    if (arrived_.empty()) {
      throw request_error("kv.state", fmt::format("worker {} waits for entries of another cache: none were sent, or "
                                                  "not all of them",
                                                  number_));
    }
    KvEntries next = std::move(arrived_.front());
    arrived_.pop_front();
    return next;
  }

 private:
  // Instances of other splits are found, too: the caches' endpoints then say what does not fit.
  [[nodiscard]] End& peer(Index receiver_offset) const {
    const auto count = static_cast<Index>(all_.ends_.size());
    const bool is_first = receiver_offset >= 0 && receiver_offset < count &&
                          all_.ends_[static_cast<std::size_t>(receiver_offset)]->first_ == receiver_offset &&
                          receiver_offset != first_;
    if (!is_first) {
      throw request_error(
          "kv.bad_argument",
          fmt::format("disagg_mark_send: receiver_offset = {}: no other instance begins there", receiver_offset));
    }
    End& first = *all_.ends_[static_cast<std::size_t>(receiver_offset)];
    const Index place = number_ - first_;
    return place < first.split_.workers() ? *all_.ends_[static_cast<std::size_t>(receiver_offset + place)] : first;
  }

  InProcessKv& all_;
  Split split_;
  Index first_, number_;
  KvEndpoint own_;
  std::deque<KvEntries> arrived_;
};

InProcessKv::InProcessKv() = default;
InProcessKv::~InProcessKv() = default;

Index InProcessKv::add_instance(const Split& split) {
  const auto first = static_cast<Index>(ends_.size());
  for (Index place = 0; place < split.workers(); ++place)
    ends_.push_back(std::make_unique<End>(*this, split, first, first + place));
  return first;
}

KvTransport& InProcessKv::worker(Index number) { return *ends_[static_cast<std::size_t>(number)]; }

}  // namespace mlbench::backends
