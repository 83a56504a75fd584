#include "backends/gpu/rates.h"

#include <algorithm>
#include <chrono>
#include <functional>

namespace mlbench::gpu {
namespace {

using Clock = std::chrono::steady_clock;

// So long that starting and waiting for the work does not count.
constexpr double kLongEnough = 0.005;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The most `amount` a second, of `work` that is done again until `seconds` are over.
double best_rate(Stream& stream, double amount, double seconds, const std::function<void()>& work) {
  work();
  stream.synchronize();
  double best = 0.0;
  Index times = 1;
  const Clock::time_point begin = Clock::now();
  do {
    const Clock::time_point start = Clock::now();
    for (Index i = 0; i < times; ++i) work();
    stream.synchronize();
    const double took = seconds_since(start);
    best = std::max(best, amount * static_cast<double>(times) / std::max(took, 1e-9));
    if (took < kLongEnough) times *= 2;
  } while (seconds_since(begin) < seconds);
  return best;
}

double copy_rate(Runtime& runtime, Stream& stream, double seconds, std::uint64_t most) {
  const std::uint64_t bytes = std::min(most, runtime.free_bytes() / 8) / 256 * 256;
  const Memory from(runtime, bytes, "memory to copy"), to(runtime, bytes, "memory to copy to");
  runtime.clear(stream, from.data(), bytes);
  return best_rate(stream, 2.0 * static_cast<double>(bytes), seconds,
                   [&] { runtime.copy(stream, to.data(), from.data(), bytes); });
}

double product_rate(Runtime& runtime, Stream& stream, DType stored, Index n) {
  const std::uint64_t bytes = static_cast<std::uint64_t>(n * n) * size_bytes(stored);
  const Memory x(runtime, bytes, "a factor"), weight(runtime, bytes, "a factor");
  const Memory y(runtime, static_cast<std::uint64_t>(n * n) * sizeof(float), "a product");
  runtime.clear(stream, x.data(), bytes);
  runtime.clear(stream, weight.data(), bytes);
  const ProductCall call{.stored = stored,
                         .x = x.data(),
                         .weight = weight.data(),
                         .bias = nullptr,
                         .y = y.floats(),
                         .rows = n,
                         .in = n,
                         .out = n};
  return best_rate(stream, 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n), 0.0,
                   [&] { runtime.multiply(stream, call); });
}

}  // namespace

backends::DeviceRates measure_rates(Runtime& runtime, DType stored, double seconds, std::uint64_t copied) {
  constexpr Index kSmallest = 128, kLargest = 8192;
  const auto stream = runtime.make_stream();
  backends::DeviceRates out;
  out.read_bytes_per_second = copy_rate(runtime, *stream, 0.5 * seconds, copied);
  const Clock::time_point begin = Clock::now();
  // Larger products until the next would take too long, and then the largest again.
  Index n = kSmallest;
  do {
    const Clock::time_point start = Clock::now();
    out.flops_per_second = std::max(out.flops_per_second, product_rate(runtime, *stream, stored, n));
    if (n < kLargest && 16.0 * seconds_since(start) < seconds) n *= 2;
  } while (seconds_since(begin) < 0.5 * seconds);
  return out;
}

}  // namespace mlbench::gpu
