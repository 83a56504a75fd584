// What a run of a workload gave, kept, and how another run differs from it: bit by bit, or beyond limits.
#pragma once

#include <map>
#include <optional>

#include "core/soak_results.h"
#include "harness/chained.h"
#include "harness/check_tap.h"

namespace mlbench::soak {

using harness::Call;
using harness::GivenTaps;
using harness::Story;

// What every call of a workload gave.
using Recorded = std::vector<GivenTaps>;

// A value that is not what it should be.
struct WrongValue {
  std::size_t call = 0;  // index into the story
  TapId tap;
  Index element = 0;   // flat index into the tap
  Index straying = 0;  // of its elements
  Index sequence = 0, position = 0;
  std::string where;  // inside the tap's row: "head 2 [5]"
  double expected = 0.0, computed = 0.0;
  std::string expected_bits, computed_bits;
  std::vector<int> bits;
};
// "layers.2.mlp_out [5] in workload-0/7 batch_decode, sequence 1, position 20"
[[nodiscard]] std::string describe(const WrongValue& wrong, const Story& story);

// Exact values and how far they may be off, of what a call gave.
struct TapLimits {
  ref::Tensor exact;
  std::vector<double> rows;  // a limit for each row of tokens
};
using CallLimits = std::map<std::pair<Index, int>, TapLimits>;  // by layer and tap

// Holds what calls give against what they gave in the run that was checked.
class Watch {
 public:
  // `taps`: those that are looked at, in the order of computation, beside the result; it must outlive this.
  Watch(const ModelConfig& config, const std::vector<TapId>& taps) : specs_(tap_specs(config)), taps_(taps) {}

  // The first value of which a bit differs; a shape or positions that differ throw backend.failed.
  [[nodiscard]] std::optional<WrongValue> by_bits(const Story& story, std::size_t call, const GivenTaps& expected,
                                                  const GivenTaps& got) const;
  // The first tap with a value beyond its limit, and its worst element.
  [[nodiscard]] std::optional<WrongValue> by_limits(const Story& story, std::size_t call, const CallLimits& limits,
                                                    const GivenTaps& got) const;
  // Whether the same bits stand in the same place.
  [[nodiscard]] static bool holds(const WrongValue& wrong, const GivenTaps& got);
  // How many values there are to compare.
  [[nodiscard]] std::uint64_t values(const GivenTaps& got) const;

 private:
  [[nodiscard]] std::vector<TapId> looked_at() const;
  [[nodiscard]] WrongValue locate(const Call& call, TapId id, const HostTensor& got, Index element,
                                  const std::vector<std::int32_t>& positions) const;

  std::vector<TapSpec> specs_;
  const std::vector<TapId>& taps_;
};

}  // namespace mlbench::soak
