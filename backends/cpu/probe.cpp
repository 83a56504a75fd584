#include "backends/cpu/probe.h"

#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <ctime>
#include <exception>
#include <functional>
#include <memory>
#include <new>

#include <fmt/format.h>

#include "backends/cpu/convert.h"
#include "backends/cpu/product.h"
#include "backends/cpu/threads.h"
#include "core/control_group.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/processors.h"

namespace mlbench::cpu {
namespace {

using Clock = std::chrono::steady_clock;

// The processor's time that this thread has had: it stands still while others have the processor.
double thread_seconds() {
  timespec now{};
  (void)::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// The quickest piece, in this thread's time. The first one warms up; those that end too late ran while other threads
// had finished. They count where there are no others.
double quickest(Clock::time_point start, double seconds, const std::function<void()>& run) {
  const auto time_is_up = [&] { return std::chrono::duration<double>(Clock::now() - start).count() >= seconds; };
  const auto timed = [&] {
    const double begin = thread_seconds();
    run();
    return thread_seconds() - begin;
  };
  const double first = timed();
  double best = INFINITY;
  while (!time_is_up()) {
    const double took = timed();
    if (!time_is_up()) best = std::min(best, took);
  }
  return std::isfinite(best) ? best : first;
}

// Pieces of work on all threads at the same time, each thread its own until the time is up; the sum of what each does
// in a second, by its quickest piece. No thread waits for another one, and the time in which somebody else had the
// processor does not count, so that on a busy machine too this is what the device can do, not what was left of it (and
// rather too much, where those who are displaced would have slowed each other down). `piece_of` makes a thread's piece.
using Piece = std::function<void()>;
double summed_rate(int threads, double seconds, double work, const std::function<Piece()>& piece_of) {
  std::exception_ptr failure;
  std::atomic<bool> failed = false;
  double sum = 0.0;
  const ThreadCount one_each(1);  // of what a piece opens
#pragma omp parallel num_threads(threads) reduction(+ : sum)
  {
    Piece piece;
    try {
      piece = piece_of();
    } catch (...) {
      if (!failed.exchange(true)) failure = std::current_exception();
    }
#pragma omp barrier
    try {
      if (!failed) sum += work / quickest(Clock::now(), seconds, piece);
    } catch (...) {
      if (!failed.exchange(true)) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
  return sum;
}

// ---- reading ----

using Word = std::uint64_t;

// Sixteen sums that do not wait for each other, so that loops become vector code and loads do not stand in line.
// count: a multiple of 16.
Word sum_of(const Word* words, Index count) {
  constexpr std::size_t kSums = 16;
  Word sums[kSums] = {};
  for (const Word* end = words + count; words != end; words += kSums) {
    for (std::size_t i = 0; i < kSums; ++i) sums[i] += words[i];
  }
  Word sum = 0;
  for (const Word part : sums) sum += part;
  return sum;
}

// Reads the numbers 0, 1, 2, .. in memory; that their sum is right is what the compiler may not know. count: even.
void read_numbers(const Word* words, Index count) {
  const auto n = static_cast<Word>(count);
  if (sum_of(words, count) != n / 2 * (n - 1))
    throw Error(ErrorKind::internal, "backend.failed", "measuring: memory does not hold what was written to it");
}

// The machine's, or what the control group leaves of it.
std::uint64_t memory_bytes() {
  const auto all =
      static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return std::min(all, machine::memory_limit("/proc", "/sys").value_or(all));
}

double read_rate(int threads, double seconds) {
  const std::uint64_t bytes =
      buffer_bytes_to_read(machine::Processors("/sys").last_level_cache_bytes(), memory_bytes());
  if (bytes == 0) return 0.0;
  constexpr std::uint64_t kStep = 4096;
  const auto part_bytes = static_cast<std::size_t>(bytes / static_cast<std::uint64_t>(threads) / kStep * kStep);
  try {
    return summed_rate(threads, seconds, static_cast<double>(part_bytes), [part_bytes]() -> Piece {
      const auto count = static_cast<Index>(part_bytes / sizeof(Word));
      const auto buffer = std::make_shared<Buffer>(part_bytes);  // lies near the thread that writes it first
      auto* words = reinterpret_cast<Word*>(buffer->data());
      for (Index i = 0; i < count; ++i) words[i] = static_cast<Word>(i);
      return [buffer, words, count] { read_numbers(words, count); };
    });
  } catch (const std::bad_alloc&) {
    return 0.0;
  }
}

// ---- products ----

// x W^T of n rows, W [n, n], in the type that the backend multiplies.
class SquareProduct {
 public:
  SquareProduct(DType type, Index n) : n_(n), products_(type, 1), x_(values(n)), y_(x_.size()) {
    Buffer rows(x_.size() * size_bytes(type));
    narrow(type, x_.data(), rows.data(), n * n);
    layer_.weight = products_.prepare({type, n, n, rows.data()});
    if (layer_.weight.data == rows.data()) layer_.weight.owned = std::move(rows);
    input_ = products_.input(x_.data(), n, n);
  }

  void run() { products_.multiply(input_, layer_, y_.data()); }

 private:
  // Between -1 and 1, of all bit patterns: a processor that multiplies zeros draws less power and may run faster.
  static std::vector<float> values(Index n) {
    std::vector<float> out(static_cast<std::size_t>(n * n));
    std::uint64_t place = 0;
    for (float& value : out) value = static_cast<float>(static_cast<std::int32_t>(scattered(1, ++place))) * 0x1p-31F;
    return out;
  }

  Index n_;
  Products products_;
  std::vector<float> x_, y_;
  Linear layer_;
  ProductInput input_;  // x, rounded
};

constexpr Index kProductSize = 512;  // small enough for a thread's caches, large enough to come near the peak

// Each thread its own.
double product_rate(DType type, int threads, double seconds) {
  constexpr double kFlops = 2.0 * kProductSize * kProductSize * kProductSize;
  return summed_rate(threads, seconds, kFlops, [type]() -> Piece {
    const auto product = std::make_shared<SquareProduct>(type, kProductSize);
    return [product] { product->run(); };
  });
}

}  // namespace

std::uint64_t buffer_bytes_to_read(std::uint64_t cache_bytes, std::uint64_t memory_bytes) {
  constexpr std::uint64_t kLeast = std::uint64_t{256} << 20U, kPage = 4096;
  const std::uint64_t bytes = std::min(std::max(kLeast, 4 * cache_bytes), memory_bytes / 4) / kPage * kPage;
  return bytes < 2 * cache_bytes ? 0 : bytes;
}

backends::DeviceRates measure_rates(DType stored, int threads, double seconds) {
  if (!std::isfinite(seconds) || seconds <= 0.0)
    throw request_error("config.value",
                        fmt::format("measuring for {:g} seconds: must be above 0, and finite", seconds));
  const DType multiplied = Products::native(stored) ? stored : DType::f32;
  // More than there are would be given the time of one another.
  const int team = std::min({threads, all_threads(), omp_get_thread_limit()});
  return {.read_bytes_per_second = read_rate(team, seconds / 2.0),
          .flops_per_second = product_rate(multiplied, team, seconds / 2.0)};
}

}  // namespace mlbench::cpu
