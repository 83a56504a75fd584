// A stack of its own, to be switched to and back from. One thread of the process at a time uses fibers.
#pragma once

#include <cstddef>

#if !defined(__x86_64__) && !defined(MLBENCH_EXECUTOR_UCONTEXT)
#define MLBENCH_EXECUTOR_UCONTEXT
#endif
#if defined(MLBENCH_EXECUTOR_UCONTEXT)
#include <ucontext.h>
#endif

namespace mlbench::gpu::executor {

class Fiber {
 public:
  using Entry = void (*)();  // never returns: it ends with leave()

  Fiber() = default;           // the stack of whoever switches from it first
  explicit Fiber(int number);  // a stack of its own above a guard page; `number` staggers the stacks in the cache
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  // To begin anew with `entry` when it is switched to. What stood on the stack is gone.
  void start(Entry entry);

  static void change(Fiber& from, Fiber& to);
  // `from` is not gone on with until it is started again.
  [[noreturn]] static void leave(Fiber& from, Fiber& to);

  // Under ThreadSanitizer: what happened on this fiber before is known to who calls happens_after() with the same tag.
  static void happens_before(void* tag);
  static void happens_after(void* tag);

 private:
  static void begin();
  static void arrive(Fiber& here);
  static void depart(Fiber& from, Fiber& to, bool for_good);

#if defined(MLBENCH_EXECUTOR_UCONTEXT)
  ucontext_t context_{};
#else
  void* top_ = nullptr;  // where its registers are saved
#endif
  char* stack_ = nullptr;
  std::size_t offset_ = 0;  // of the first frame below the stack's end
  Entry entry_ = nullptr;
  const void* bottom_ = nullptr;  // as AddressSanitizer knows the stack
  std::size_t size_ = 0;
  void* fake_stack_ = nullptr;  // AddressSanitizer's
  void* context_of_tsan_ = nullptr;
};

}  // namespace mlbench::gpu::executor
