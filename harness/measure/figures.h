// What a row's samples come to: rates, percentiles, shares of the device's limits, and whether a time can be true.
#pragma once

#include <cstdint>
#include <span>

#include "core/bench_results.h"
#include "models/config.h"

namespace mlbench::measure {

// Fills in everything of `row` that follows from its samples. `rates`: what the device reaches, or null.
// `caches_bytes`: of the device's caches together. A checked row whose shortest repetition is below the floor becomes
// implausible.
void complete(BenchRow& row, const ModelConfig& config, const ProbeResult* rates, std::uint64_t caches_bytes,
              double confidence);

// Of every row of a split model, what splitting came to beside the row of the run that differs in nothing but the
// split.
void add_scaling(std::span<BenchRow> rows);

}  // namespace mlbench::measure
