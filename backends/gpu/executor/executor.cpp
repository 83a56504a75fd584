#include "backends/gpu/executor/executor.h"

#include <array>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "backends/gpu/executor/faults.h"
#include "backends/gpu/executor/fiber.h"
#include "backends/gpu/executor/shared_memory.h"

namespace mlbench::gpu::executor {
namespace {

// ThreadSanitizer knows a stack by its address and a thread by its context: there each thread of a block has its own,
// and blocks take turns with two sets, so that races between neighbours stay visible.
#if defined(MLBENCH_EXECUTOR_TSAN)
constexpr bool kSharesStacks = false;
constexpr int kMostThreads = 256;
#else
constexpr bool kSharesStacks = true;
constexpr int kMostThreads = kMaxThreads;
#endif

// xorshift64 (Marsaglia, "Xorshift RNGs", 2003): the same on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_((seed + 1) * 0x9E3779B97F4A7C15U | 1U) {}
  // In [0, n).
  std::size_t below(std::size_t n) {
    state_ ^= state_ << 13U;
    state_ ^= state_ >> 7U;
    state_ ^= state_ << 17U;
    return static_cast<std::size_t>((state_ >> 32U) * n >> 32U);
  }

 private:
  std::uint64_t state_;
};

enum class State : unsigned char { ready, at_barrier, in_warp, done };

struct Thread {
  Place place;
  int index = 0;
  State state = State::ready;
  unsigned exchanges = 0;  // with its warp, until now
  Fiber* fiber = nullptr;  // null: not started, or done
  Here here;               // where it waits
};

struct Warp {
  int waiting = 0;
  Here here;                                                   // where they wait
  std::array<std::array<std::uint64_t, kMaxLanes>, 2> bits{};  // of this exchange and of the one before
};

// Thrown in the threads of a block that is given up.
struct GivenUp {};

int count(Place extent) { return extent.x * extent.y * extent.z; }

Place place_in(int index, Place extent) {
  return {index % extent.x, index / extent.x % extent.y, index / extent.x / extent.y};
}

class Executor {
 public:
  void run(const Launch& launch);

  void barrier(const Here& here);
  const std::uint64_t* exchange(int width, std::uint64_t bits, const Here& here);
  void* shared_array(const void* key, std::size_t bytes, std::size_t alignment, const char* name, const Here& here);
  void check_width(int width, const Here& here);
  [[noreturn]] void fail(const Here& here, std::string_view what);

  [[nodiscard]] Thread& current() {
    if (current_ == nullptr) throw error("what only a kernel can ask was asked outside of kernels");
    return *current_;
  }
  [[nodiscard]] const Launch& launch() const { return launch_; }
  [[nodiscard]] Place block() const { return block_; }
  [[nodiscard]] void* dynamic_shared() const { return shared_.dynamic(); }

 private:
  void run_block(Place block);
  void give_up();
  static void thread_entry();
  [[noreturn]] void run_threads();
  void run_body();

  void wait(State state, const Here& here);
  void wake(int first, int n, State state);
  Thread* next_ready();
  Fiber* take_fiber(const Thread& thread);
  Fiber* add_fiber();
  void start(Thread& thread, Fiber* fiber);
  void check_shared(const Here* barrier);
  [[nodiscard]] std::string stuck() const;

  Launch launch_;
  Options options_;
  Place block_;
  Random random_{0};
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<Thread*> ready_;
  int done_ = 0, at_barrier_ = 0;
  Here barrier_here_;  // where they wait
  unsigned barriers_ = 0, blocks_ = 0;
  Thread* current_ = nullptr;
  SharedMemory shared_;

  Fiber launcher_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> free_fibers_;

  std::exception_ptr fault_;
  bool giving_up_ = false;
  std::array<char, 2> barrier_tags_{};  // for ThreadSanitizer: what happens before what
  char start_tag_ = 0, end_tag_ = 0;
};

Executor the_executor;  // not in a function: threads ask for it at every step
std::mutex launches;
std::atomic<std::thread::id> launching_thread;

void Executor::run(const Launch& launch) {
  launch_ = launch;
  options_ = options();
  check(launch, options_, kMostThreads);
  random_ = Random(options_.seed);
  const std::size_t own_fibers = kSharesStacks ? 0 : 2 * static_cast<std::size_t>(count(launch.block));
  while (fibers_.size() < own_fibers) add_fiber();
  // Blocks run in any order: a permutation by Fisher and Yates.
  const Index blocks = static_cast<Index>(launch.grid.x) * launch.grid.y * launch.grid.z;
  std::vector<Index> order(static_cast<std::size_t>(blocks));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t n = order.size(); n > 0; --n) {
    std::swap(order[n - 1], order[random_.below(n)]);
    const Index i = order[n - 1];
    const Index row = launch.grid.x;
    run_block({static_cast<int>(i % row), static_cast<int>(i / row % launch.grid.y),
               static_cast<int>(i / row / launch.grid.y)});
  }
  Fiber::happens_after(&end_tag_);
}

void Executor::run_block(Place block) {
  block_ = block;
  ++blocks_;
  const int n = count(launch_.block);
  threads_.assign(static_cast<std::size_t>(n), Thread{});
  warps_.resize(static_cast<std::size_t>((n + options_.warp_width - 1) / options_.warp_width));
  for (Warp& warp : warps_) warp.waiting = 0;
  ready_.clear();
  for (Thread& thread : threads_) {
    thread.index = static_cast<int>(&thread - threads_.data());
    thread.place = place_in(thread.index, launch_.block);
    ready_.push_back(&thread);
  }
  done_ = at_barrier_ = 0;
  if (!shared_.begin(options_.shared_bytes, launch_.shared_bytes)) throw error("no room for dynamic shared memory");

  Fiber::happens_before(&start_tag_);
  Thread* first = next_ready();
  start(*first, take_fiber(*first));
  current_ = first;
  Fiber::change(launcher_, *first->fiber);
  if (fault_) give_up();
  current_ = nullptr;
  if (fault_) std::rethrow_exception(std::exchange(fault_, nullptr));
  check_shared(nullptr);
}

// Every thread that has begun is ended by an exception, so that nothing is left on its stack.
void Executor::give_up() {
  giving_up_ = true;
  for (Thread& thread : threads_) {
    if (thread.fiber == nullptr) continue;
    current_ = &thread;
    Fiber::change(launcher_, *thread.fiber);
  }
  giving_up_ = false;
  Fiber::happens_after(&end_tag_);
}

void Executor::thread_entry() { the_executor.run_threads(); }

// A fiber's life: its thread, and after it others that have not begun yet, as long as there are such.
void Executor::run_threads() {
  for (;;) {
    run_body();
    Thread& me = *current_;
    Fiber* fiber = std::exchange(me.fiber, nullptr);
    me.state = State::done;
    ++done_;
    Thread* next = fault_ ? nullptr : next_ready();
    if (!fault_ && next == nullptr && done_ < static_cast<int>(threads_.size())) {
      fault_ = std::make_exception_ptr(error(stuck()));
    }
    if (next != nullptr) {
      current_ = next;
      if (next->fiber == nullptr && kSharesStacks) {
        next->fiber = fiber;
        continue;
      }
      if (next->fiber == nullptr) start(*next, take_fiber(*next));
    }
    if (kSharesStacks) free_fibers_.push_back(fiber);
    Fiber::leave(*fiber, next == nullptr ? launcher_ : *next->fiber);
  }
}

void Executor::run_body() {
  Fiber::happens_after(&start_tag_);
  try {
    launch_.body(launch_.argument);
  } catch (const GivenUp&) {  // NOLINT(bugprone-empty-catch): it has ended, which is what was wanted
  } catch (...) {
    if (!fault_) fault_ = std::current_exception();
  }
  Fiber::happens_before(&end_tag_);
}

// One of the threads that can go on, drawn.
Thread* Executor::next_ready() {
  if (ready_.empty()) return nullptr;
  std::swap(ready_[random_.below(ready_.size())], ready_.back());
  Thread* next = ready_.back();
  ready_.pop_back();
  return next;
}

Fiber* Executor::take_fiber(const Thread& thread) {
  if (!kSharesStacks) return fibers_[2 * static_cast<std::size_t>(thread.index) + blocks_ % 2].get();
  if (free_fibers_.empty()) free_fibers_.push_back(add_fiber());
  Fiber* fiber = free_fibers_.back();
  free_fibers_.pop_back();
  return fiber;
}

Fiber* Executor::add_fiber() {
  return fibers_.emplace_back(std::make_unique<Fiber>(static_cast<int>(fibers_.size()))).get();
}

void Executor::start(Thread& thread, Fiber* fiber) {
  thread.fiber = fiber;
  fiber->start(thread_entry);
}

void Executor::wait(State state, const Here& here) {
  Thread& me = current();
  me.state = state;
  me.here = here;
  Thread* next = next_ready();
  if (next == nullptr) throw error(stuck());
  if (next->fiber == nullptr) start(*next, take_fiber(*next));
  current_ = next;
  Fiber::change(*me.fiber, *next->fiber);
  current_ = &me;
  if (giving_up_) throw GivenUp{};
}

// Threads that wait as `state` among n from `first` on are ready.
void Executor::wake(int first, int n, State state) {
  for (int i = first; i < first + n; ++i) {
    Thread& thread = threads_[static_cast<std::size_t>(i)];
    if (thread.state != state) continue;
    thread.state = State::ready;
    ready_.push_back(&thread);
  }
}

void Executor::barrier(const Here& here) {
  (void)current();
  void* tag = &barrier_tags_[barriers_ % 2];
  Fiber::happens_before(tag);
  if (at_barrier_ == 0) barrier_here_ = here;
  if (!(barrier_here_ == here)) fail(here, fmt::format("a divergent barrier: others wait at {}", text(barrier_here_)));
  const int n = static_cast<int>(threads_.size());
  if (++at_barrier_ < n) {
    wait(State::at_barrier, here);
  } else {
    at_barrier_ = 0;
    ++barriers_;
    check_shared(&here);
    wake(0, n, State::at_barrier);
  }
  Fiber::happens_after(tag);
}

void Executor::check_width(int width, const Here& here) {
  if (width != options_.warp_width) {
    fail(here, fmt::format("made for warps of {} threads, launched on a device with {}", width, options_.warp_width));
  }
}

const std::uint64_t* Executor::exchange(int width, std::uint64_t bits, const Here& here) {
  Thread& me = current();
  check_width(width, here);
  const int n = static_cast<int>(threads_.size());
  if (n % width != 0) fail(here, fmt::format("lanes of {} ask each other in a block of {} threads", width, n));
  const int first = me.index / width * width;
  Warp& warp = warps_[static_cast<std::size_t>(me.index / width)];
  auto& slots = warp.bits[me.exchanges++ % 2];
  slots[static_cast<std::size_t>(me.index - first)] = bits;
  if (warp.waiting == 0) warp.here = here;
  if (!(warp.here == here)) fail(here, fmt::format("a divergent warp: other lanes wait at {}", text(warp.here)));
  if (++warp.waiting < width) {
    wait(State::in_warp, here);
  } else {
    warp.waiting = 0;
    wake(first, width, State::in_warp);
  }
  return slots.data();
}

void* Executor::shared_array(const void* key, std::size_t bytes, std::size_t alignment, const char* name,
                             const Here& here) {
  void* data = shared_.array(key, bytes, alignment, name);
  if (data == nullptr) {
    fail(here, fmt::format("{}: {} bytes of shared memory in all, a block may have {}", name, shared_.declared_bytes(),
                           options_.shared_bytes));
  }
  return data;
}

// At a barrier, or where the block ends.
void Executor::check_shared(const Here* barrier) {
  if (const auto overrun = shared_.overrun()) {
    throw error(fmt::format("{}, block {}: before {} a thread {}", text(launch_), text(block_),
                            barrier == nullptr ? "the block's end" : "the barrier at " + text(*barrier), *overrun));
  }
}

// Nobody can go on.
std::string Executor::stuck() const {
  std::string waiting;
  constexpr std::size_t kEnough = 400;  // letters
  for (std::size_t i = 0; i < threads_.size() && waiting.size() < kEnough;) {
    const Thread& first = threads_[i];
    std::size_t n = 0;
    while (i + n < threads_.size() && threads_[i + n].state == first.state && threads_[i + n].here == first.here) ++n;
    if (first.state != State::done && first.state != State::ready) {
      waiting += fmt::format("; {} from {} on wait {} at {}", n, text(first.place),
                             first.state == State::at_barrier ? "for the block" : "for their warp", text(first.here));
    }
    i += n;
  }
  return fmt::format("{}, block {}: a barrier or shuffle that not all threads reach: {} of {} have returned{}",
                     text(launch_), text(block_), done_, threads_.size(), waiting);
}

void Executor::fail(const Here& here, std::string_view what) {
  throw error(fmt::format("{}, block {}, thread {}, in {}: {}", text(launch_), text(block_), text(current().place),
                          text(here), what));
}

}  // namespace

Options& options() {
  static Options the_options;
  return the_options;
}

void run(const Launch& launch) {
  if (launching_thread.load() == std::this_thread::get_id()) {
    throw error(fmt::format("a kernel launches another, at {}", text(launch.here)));
  }
  const std::lock_guard lock(launches);
  struct Launching {
    Launching() { launching_thread = std::this_thread::get_id(); }
    Launching(const Launching&) = delete;
    Launching& operator=(const Launching&) = delete;
    ~Launching() { launching_thread = std::thread::id(); }
  };
  const Launching launching;
  the_executor.run(launch);
}

Place thread_place() { return the_executor.current().place; }
Place block_place() { return the_executor.block(); }
Place block_extent() { return the_executor.launch().block; }
Place grid_extent() { return the_executor.launch().grid; }

void barrier(const Here& here) { the_executor.barrier(here); }

const std::uint64_t* exchange(int width, std::uint64_t bits, const Here& here) {
  return the_executor.exchange(width, bits, here);
}

namespace {

int index_in_row(int width, const Here& here) {
  the_executor.check_width(width, here);
  const Place extent = the_executor.launch().block;
  if (extent.y != 1 || extent.z != 1) the_executor.fail(here, "lanes and warps are of one-dimensional blocks");
  return the_executor.current().index;
}

}  // namespace

int lane(int width, const Here& here) { return index_in_row(width, here) % width; }
int warp(int width, const Here& here) { return index_in_row(width, here) / width; }

void* shared_array(const void* key, std::size_t bytes, std::size_t alignment, const char* name, const Here& here) {
  return the_executor.shared_array(key, bytes, alignment, name, here);
}

void* dynamic_shared() { return the_executor.dynamic_shared(); }

void fail(const Here& here, const std::string& what) { the_executor.fail(here, what); }

}  // namespace mlbench::gpu::executor
