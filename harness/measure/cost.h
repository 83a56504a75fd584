// What a call needs by the model's own count: floating-point operations and bytes, and the time below which no device
// with the measured rates can be.
//
// Counted: multiplications with weights, queries with keys and probabilities with values over what each row may see,
// and logits, each multiplication and its addition as two operations. Left out, because they take of the order of h
// operations per row where the others take h^2: norms, rotations, softmax, activations, biases, residuals. So is what a
// device does beyond that: masked scores, padding, copies.
#pragma once

#include <cstdint>
#include <optional>

#include "core/bench_results.h"
#include "core/dtype.h"
#include "models/config.h"
#include "models/parts.h"

namespace mlbench::measure {

// One forward for `batch` sequences: `rows` new tokens of each, with `before` entries of each in the cache.
struct CallShape {
  Index batch = 1;
  Index rows = 1;
  Index before = 0;
  Index logit_rows = 0;  // over all sequences; 0: the call returns hidden rows, all of them

  friend bool operator==(const CallShape&, const CallShape&) = default;
};

struct CallCost {
  double flops = 0.0;
  // The same without what nothing that is returned depends on: of the last layer, the rows without logits but for
  // their keys and values. Equal where hidden rows are returned.
  double least_flops = 0.0;
  // Every weight that the call uses, once: of the embeddings, the rows of its tokens; of the output layer, nothing
  // where there are no logits.
  double weight_bytes = 0.0;
  double cache_read_bytes = 0.0;  // entries from before the call, once; no sequences share a prefix
  double cache_written_bytes = 0.0;

  [[nodiscard]] double bytes() const { return weight_bytes + cache_read_bytes + cache_written_bytes; }
  CallCost& operator+=(const CallCost& other);
};

// What one worker does of a call: one shard of one stage of a split model (models/parts.h). Heads and the MLP are
// divided among the shards; the first stage takes the embeddings, the last one the final norm and the output layer, and
// of both every shard does all. `stored`: the type of weights and cache. The split has to be one that parallel_rules.h
// allows.
class PartCost {
 public:
  PartCost(const ModelConfig& config, DType stored, const Split& split, Index stage);

  // Throws a request error input.shape where batch or rows are below 1, `before` is below 0, or there are more logits
  // than rows.
  [[nodiscard]] CallCost of(const CallShape& call) const;

 private:
  [[nodiscard]] double globals_read(const CallShape& call) const;

  // Numbers in the tensors of one layer.
  struct Layer {
    double all = 0.0;
    double matrices = 0.0;     // that rows are multiplied with
    double keys_values = 0.0;  // of these, what makes keys and values
  };
  [[nodiscard]] static Layer layer_of(const ModelConfig& config);

  bool first_ = true, last_ = true, tied_ = false;
  Layer layer_;
  double layers_ = 0.0;
  double pair_ = 0.0;   // multiplications for a query and a key, over the part's heads
  double entry_ = 0.0;  // numbers in the cache of a token
  double size_ = 0.0;   // bytes of a number
  Index vocab_ = 0, width_ = 0;
  // Numbers outside the layers: in the final norm, in the output layer of its own and its bias, in a row of the
  // position embedding.
  double norm_ = 0.0, head_ = 0.0, position_ = 0.0;
};

// Of the whole model, in one part.
[[nodiscard]] CallCost cost_of(const ModelConfig& config, DType stored, const CallShape& call);

// By how much a device may be better than a probe showed. A large square product and a long sum come to some 80% of
// what the units and the memory could do at best (the rest goes to the ends of loops, to refreshing memory, to waiting
// for the slowest thread), and a quarter above that is all.
inline constexpr double kProbeMargin = 1.25;

// What one call cannot be quicker than, after others of the same model; floors of calls that follow each other add up.
// The larger of two: least_flops at the measured rate, and, of the weights and the cache that are read, what
// `cache_size_bytes` of the device's caches (all levels together) cannot have kept from the call before, at the
// measured bandwidth. A rate that was not measured gives no floor.
[[nodiscard]] double floor_seconds(const CallCost& cost, const ProbeResult& probe, std::uint64_t cache_size_bytes);

// What a call takes where computing and reading or writing memory go on at the same time, each at its full rate: the
// larger of the two (Williams, Waterman and Patterson: Roofline, CACM 52(4), 2009). A rate that is 0 takes no time.
[[nodiscard]] double roofline_seconds(const CallCost& cost, const ProbeResult& rates);

// Shares of the measured rates that calls of this cost in `seconds` come to: MFU and MBU. Nothing where the rate was
// not measured.
[[nodiscard]] std::optional<double> flops_share(const CallCost& cost, const ProbeResult& probe, double seconds);
[[nodiscard]] std::optional<double> bytes_share(const CallCost& cost, const ProbeResult& probe, double seconds);

}  // namespace mlbench::measure
