// What a row's samples come to: rates, percentiles, shares of the device's limits, and whether a time can be true.
#pragma once

#include <cstdint>

#include "core/bench_results.h"
#include "models/config.h"

namespace mlbench::measure {

// Fills in everything of `row` that follows from its samples. `rates`: what the device reaches, or null.
// `caches_bytes`: of the device's caches together. A checked row whose shortest repetition is below the floor becomes
// implausible.
void complete(BenchRow& row, const ModelConfig& config, const ProbeResult* rates, std::uint64_t caches_bytes,
              double confidence);

}  // namespace mlbench::measure
