#include "harness/golden_distance.h"

#include <algorithm>

#include "harness/check_tap.h"
#include "harness/compare.h"

namespace mlbench::harness {

DistanceToGolden::DistanceToGolden(golden::GoldenFile& file, const golden::HfGolden& golden, const ModelConfig& config)
    : golden_(golden), specs_(tap_specs(config)), values_(file) {}

void DistanceToGolden::take(const Call& call, const GivenTaps& given) {
  const GoldenRows& rows = *call.golden;
  for (const golden::Result& result : golden_.results) {
    const HostTensor* tap = result.step == rows.step ? given.find(result.tap) : nullptr;
    if (tap == nullptr) continue;
    const TapSpec& spec = spec_of(specs_, result.tap.tap);
    if (rows.part && spec.layout != TapLayout::rows) continue;  // a piece's rows are cut out of the whole's
    const auto& expected = values_.read(*result.dataset, rows, static_cast<Index>(call.ids.size()), spec, tap->shape());
    const Comparison c = compare(expected.values(), tap->widened().values(), 1.0);
    const double distance = c.max_expected > 0.0 ? c.max_error / c.max_expected : c.max_error;
    const std::string kind(name(result.tap.tap));
    auto it = std::ranges::find(distances_, kind, &GoldenDistance::kind);
    if (it == distances_.end()) it = distances_.insert(it, {kind, -1.0, ""});
    if (distance > it->distance) *it = {kind, distance, call.label};
  }
}

}  // namespace mlbench::harness
