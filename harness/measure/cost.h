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

namespace mlbench::measure {

// One forward for `batch` sequences: `rows` new tokens of each, with `before` entries of each in the cache.
struct CallShape {
  Index batch = 1;
  Index rows = 1;
  Index before = 0;
  Index logit_rows = 0;  // over all sequences; 0: the call returns hidden rows, all of them
};

// Of the whole model: of one that is split, all its parts together.
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

// `stored`: the type of weights and cache. Throws a request error input.shape where batch or rows are below 1, `before`
// is below 0, or there are more logits than rows.
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

// Shares of the measured rates that calls of this cost in `seconds` come to: MFU and MBU. Nothing where the rate was
// not measured.
[[nodiscard]] std::optional<double> flops_share(const CallCost& cost, const ProbeResult& probe, double seconds);
[[nodiscard]] std::optional<double> bytes_share(const CallCost& cost, const ProbeResult& probe, double seconds);

}  // namespace mlbench::measure
