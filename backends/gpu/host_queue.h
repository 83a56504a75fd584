// The host's work: done at once, or, while it is recorded, kept with its arguments as they are now, as a device's graph
// keeps it: what a replay reads must stand in memory that the arguments point to.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "backends/gpu/kernels.h"

namespace mlbench::gpu {

using HostWork = std::vector<std::function<void()>>;

class HostQueue {
 public:
  template <class Work>
  void put(Work work) {
    if (recorded_ == nullptr) return work();
    recorded_->emplace_back(std::move(work));
  }
  // What `work` puts here.
  [[nodiscard]] HostWork recorded(const std::function<void()>& work) {
    HostWork out;
    recorded_ = &out;
    try {
      work();
    } catch (...) {
      recorded_ = nullptr;
      throw;
    }
    recorded_ = nullptr;
    return out;
  }

 private:
  HostWork* recorded_ = nullptr;
};

// Kernels by way of a queue.
template <class Launched>
class QueuedKernels final : public Kernels {
 public:
  explicit QueuedKernels(HostQueue& queue) : queue_(queue) {}

  void embed(Stream& stream, const EmbedCall& call) override { put(&Launched::embed, stream, call); }
  void add_positions(Stream& stream, const AddPositionsCall& call) override {
    put(&Launched::add_positions, stream, call);
  }
  void normalize(Stream& stream, const NormCall& call) override { put(&Launched::normalize, stream, call); }
  void add_bias(Stream& stream, const BiasCall& call) override { put(&Launched::add_bias, stream, call); }
  void rotate_and_append(Stream& stream, const QkvCall& call) override {
    put(&Launched::rotate_and_append, stream, call);
  }
  void attend_tiles(Stream& stream, const TiledAttentionCall& call) override {
    put(&Launched::attend_tiles, stream, call);
  }
  void attend_rows(Stream& stream, const SplitAttentionCall& call) override {
    put(&Launched::attend_rows, stream, call);
  }
  void activate(Stream& stream, const ActivationCall& call) override { put(&Launched::activate, stream, call); }
  void gather_rows(Stream& stream, const GatherRowsCall& call) override { put(&Launched::gather_rows, stream, call); }
  void widen(Stream& stream, const WidenCall& call) override { put(&Launched::widen, stream, call); }
  void copy_slots(Stream& stream, const CopySlotsCall& call) override { put(&Launched::copy_slots, stream, call); }
  void export_entries(Stream& stream, const EntriesCall& call) override {
    put(&Launched::export_entries, stream, call);
  }
  void import_entries(Stream& stream, const EntriesCall& call) override {
    put(&Launched::import_entries, stream, call);
  }
  [[nodiscard]] bool rounds_attention_inputs(DType stored, Index width) const override {
    return launched_.rounds_attention_inputs(stored, width);
  }

 private:
  template <class Call>
  void put(void (Launched::*kernel)(Stream&, const Call&), Stream& stream, const Call& call) {
    queue_.put([this, kernel, &stream, call] { (launched_.*kernel)(stream, call); });
  }

  HostQueue& queue_;
  Launched launched_;
};

}  // namespace mlbench::gpu
