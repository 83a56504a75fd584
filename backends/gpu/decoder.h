// The five architectures in one, on a device: norm, attention and MLP over the rows of a call, as a Design says. Values
// between operators are float32, what enters a product is rounded to the storage type. Arguments are taken as checked.
// Of a shard, results of attention's and the MLP's last product are summed over all of them.
//
// A residual addition waits for the norm that follows, whose kernel reads its result anyway; settle() does it alone.
#pragma once

#include "backends/gpu/collectives.h"
#include "backends/gpu/device_cache.h"
#include "backends/gpu/rotation_table.h"
#include "backends/gpu/rows_plan.h"
#include "backends/gpu/taps.h"
#include "backends/gpu/weights.h"

namespace mlbench::gpu {

class Decoder {
 public:
  Decoder(Runtime& runtime, Stream& stream, const Model& model, const backends::RunConfig& run);

  [[nodiscard]] const ModelConfig& config() const { return config_; }
  [[nodiscard]] Growing& growing() { return growing_; }
  [[nodiscard]] const RowsPlan& plan() const { return plan_; }

  // out float32 [n, h] in host memory
  void embed(std::span<const std::int32_t> ids, std::byte* out);

  // The rows that `cache` announced are those of the parts that follow. Makes all memory that they need; queues nothing
  // that belongs to the rows. Throws input.position_range for a row beyond the position embedding.
  void begin(DeviceCache& cache);
  // Queues the copy of the tables that begin() made.
  void copy_plan() { plan_.copy(stream_); }
  // Room for the rows of the parts, float32 [T, h], on the device.
  [[nodiscard]] float* rows(Index count) { return growing_.floats(x_, count * config_.hidden_size, "hidden rows"); }

  void enter(Taps& taps);
  void layer(Index index, Taps& taps);
  void final_norm(Taps& taps);
  // Adds to the rows what a layer left to the next norm.
  void settle();

  // Logits of `count` of the rows: of those that `chosen`, device memory, names, or from row `first` on.
  const float* logits(Index first, Index count, const std::int32_t* chosen, Taps& taps);
  // What identifies the work of a forward beside its rows: it is the same while this is.
  [[nodiscard]] std::vector<Index> shape() const;
  // Whether everything that the layers do may be recorded.
  [[nodiscard]] bool can_be_recorded() const;

 private:
  struct Pending {
    const float *first = nullptr, *second = nullptr;
  };

  [[nodiscard]] NormCall norm_call(const DeviceNorm& norm);
  // The pending addition and the norm: rows for the next product in norm_, and the tap.
  void normalize(const DeviceNorm& norm, Tap tap, Taps& taps);
  void multiply(const DeviceLinear& linear, const void* x, Index rows, float* y);
  void multiply(const DeviceLinear& linear, const void* weight, const void* x, Index rows, float* y);
  void give_rotation(Taps& taps) const;
  // Keys (kind 0) or values (1) of the rows, as the cache stores them.
  void give_stored(Tap tap, Index layer, Index kind, const Taps& taps) const;
  void project(const DeviceLayer& w, Taps& taps);
  void rotate_and_append(Index index, const DeviceLayer& w, Taps& taps);
  void attend(Index index, Taps& taps);
  // Results in attn_out_ and mlp_out_.
  void attention(Index index, const DeviceLayer& w, Taps& taps);
  void mlp(const DeviceLayer& w, Taps& taps);
  // Phi's shards sum attention and MLP together.
  [[nodiscard]] Pending block_of_all(const Taps& taps);
  // Makes a shard's results those of all of them, or leaves it to block_of_all().
  void sum_over_shards(float* rows, Tap part, Tap whole, const Taps& taps);
  [[nodiscard]] Index splits() const;

  Runtime& runtime_;
  Stream& stream_;
  ModelConfig config_;
  stack::Design design_;
  backends::RunConfig run_;
  DType stored_;
  DeviceWeights weights_;
  RotationTable rotation_;
  Growing growing_;
  RowsPlan plan_;
  std::unique_ptr<Collectives> collectives_;  // from the first sum on, where all shards are there

  DeviceCache* cache_ = nullptr;  // of this call
  Index rows_ = 0;                // T
  Pending pending_;
  Memory x_, ids_, norm_, qkv_, q_, context_, partial_, attn_out_, up_, hidden_, mlp_out_, chosen_, logits_;
  Memory tap_, second_tap_;  // float32 rows that only taps read
};

}  // namespace mlbench::gpu
