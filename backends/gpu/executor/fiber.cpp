#include "backends/gpu/executor/fiber.h"

#include <cstdint>
#include <utility>

#include <sys/mman.h>

#include "backends/gpu/executor/faults.h"
#include "backends/gpu/executor/sanitizers.h"

#if defined(MLBENCH_EXECUTOR_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace mlbench::gpu::executor {
namespace {

constexpr std::size_t kGuardBytes = 4096;
#if defined(MLBENCH_EXECUTOR_ASAN)
constexpr std::size_t kStackBytes = 512 << 10;  // frames are padded
#else
constexpr std::size_t kStackBytes = 128 << 10;
#endif

Fiber* came_from = nullptr;
Fiber* came_to = nullptr;

#if !defined(MLBENCH_EXECUTOR_UCONTEXT)
// Saves what a called function must keep (System V ABI for x86-64, 3.2.1) on the stack, the stack's top in *save, and
// goes on with what was saved at `to`. Rounding modes are the same everywhere and stay.
extern "C" void mlbench_executor_switch(void** save, void* to);
asm(R"(
  .pushsection .text
  .p2align 4
  .hidden mlbench_executor_switch
  .globl mlbench_executor_switch
  .type mlbench_executor_switch,@function
mlbench_executor_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size mlbench_executor_switch,.-mlbench_executor_switch
  .popsection
)");
constexpr int kSavedRegisters = 6;
#endif

}  // namespace

Fiber::Fiber(int number) : offset_(static_cast<std::size_t>(number) * 320 % 8192) {
  void* memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) {
    throw error("no memory for the stack of a thread");
  }
  stack_ = static_cast<char*>(memory) + kGuardBytes;
  bottom_ = stack_;
  size_ = kStackBytes;
#if defined(MLBENCH_EXECUTOR_TSAN)
  context_of_tsan_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
  if (stack_ == nullptr) return;
#if defined(MLBENCH_EXECUTOR_TSAN)
  __tsan_destroy_fiber(context_of_tsan_);
#endif
  munmap(stack_ - kGuardBytes, kGuardBytes + kStackBytes);
}

void Fiber::start(Entry entry) {
  entry_ = entry;
#if defined(MLBENCH_EXECUTOR_ASAN)
  __asan_unpoison_memory_region(stack_, kStackBytes);
#endif
#if defined(MLBENCH_EXECUTOR_UCONTEXT)
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = kStackBytes - offset_;
  context_.uc_link = nullptr;
  makecontext(&context_, begin, 0);
#else
  // As if begin() had been called, by nobody, from the stack's end.
  void** top = reinterpret_cast<void**>(stack_ + kStackBytes - offset_);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&begin);
  for (int i = 0; i < kSavedRegisters; ++i) *--top = nullptr;
  top_ = top;
#endif
}

void Fiber::begin() {
  arrive(*came_to);
  came_to->entry_();
  __builtin_unreachable();
}

void Fiber::depart(Fiber& from, Fiber& to, [[maybe_unused]] bool for_good) {
  came_from = &from;
  came_to = &to;
#if defined(MLBENCH_EXECUTOR_ASAN)
  __sanitizer_start_switch_fiber(for_good ? nullptr : &from.fake_stack_, to.bottom_, to.size_);
#endif
#if defined(MLBENCH_EXECUTOR_TSAN)
  if (from.stack_ == nullptr) from.context_of_tsan_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to.context_of_tsan_, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(MLBENCH_EXECUTOR_UCONTEXT)
  swapcontext(&from.context_, &to.context_);
#else
  mlbench_executor_switch(&from.top_, to.top_);
#endif
}

void Fiber::arrive([[maybe_unused]] Fiber& here) {
#if defined(MLBENCH_EXECUTOR_ASAN)
  __sanitizer_finish_switch_fiber(std::exchange(here.fake_stack_, nullptr), &came_from->bottom_, &came_from->size_);
#endif
}

void Fiber::change(Fiber& from, Fiber& to) {
  depart(from, to, false);
  arrive(from);
}

void Fiber::leave(Fiber& from, Fiber& to) {
  depart(from, to, true);
  __builtin_unreachable();
}

void Fiber::happens_before([[maybe_unused]] void* tag) {
#if defined(MLBENCH_EXECUTOR_TSAN)
  __tsan_release(tag);
#endif
}

void Fiber::happens_after([[maybe_unused]] void* tag) {
#if defined(MLBENCH_EXECUTOR_TSAN)
  __tsan_acquire(tag);
#endif
}

}  // namespace mlbench::gpu::executor
