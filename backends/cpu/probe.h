// What the processor reaches in practice: reading memory, and multiplying matrices as the backend does.
#pragma once

#include <cstdint>

#include "backends/backend.h"
#include "core/dtype.h"

namespace mlbench::cpu {

// The best of what about `seconds` show, at least one try of each; half of the time goes to either. Threads work side
// by side, each on its own, and the time in which others have the processor does not count. f16, and bf16 where the
// processor lacks it, are storage types, whose products are those of float32. threads >= 1. Throws a request error
// config.value unless `seconds` is finite and above 0.
//
// Reading: each thread sums its part of memory that it wrote beforehand and that is thus near it; 0, not measured,
// where memory is too small for more than the caches hold.
[[nodiscard]] backends::DeviceRates measure_rates(DType stored, int threads, double seconds);

// Bytes to read in order to measure memory rather than caches, of a machine that has so much of both: four times the
// caches, so that what a pass leaves in them is no more than a quarter of the next one, at least 256 MiB, at most a
// quarter of memory. 0 where that is less than twice the caches. A multiple of 4096.
[[nodiscard]] std::uint64_t buffer_bytes_to_read(std::uint64_t cache_bytes, std::uint64_t memory_bytes);

}  // namespace mlbench::cpu
