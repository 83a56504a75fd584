// Kernels on the processor. A block's threads run as fibers, one at a time, each until it waits at a barrier or for its
// warp; who goes on is drawn by a seed. So a kernel that works only in some order is seen to be wrong on a machine
// without a GPU, and what devices leave undefined is an error here:
//   a barrier that not all threads reach, or reach at different lines of the source; a shuffle in which not all lanes
//   of a warp take part; a lane that does not exist; a kernel made for another warp width; a shuffle in a block that is
//   no whole number of warps; more threads or shared memory than a block may have; misaligned packs; shared memory
//   written within 256 bytes of an array's ends (seen at the next barrier, or where the block ends; AddressSanitizer
//   sees reads too, at once, and the same of global memory). A thread whose stack overflows meets a guard page.
// Shared memory that nobody wrote is NaN in every floating-point type, and -1.
//
// Each of these is an Error, ErrorKind::internal with code backend.failed, which names the call, the block, the
// thread and the line of the source; launch() throws it, and the executor can be used again. Not seen: two threads that
// write the same place without a barrier and do not come to a wrong result in the order drawn. ThreadSanitizer sees
// those: compile executor/*.cpp with -DMLBENCH_EXECUTOR_TSAN and without -fsanitize=thread, kernels with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "backends/gpu/executor/here.h"
#include "backends/gpu/kernels/place.h"
#include "core/tensor.h"

namespace mlbench::gpu::executor {

struct Options {
  int warp_width = 32;            // 32 or 64
  std::uint64_t seed = 1;         // of the order of blocks and threads; the same seed, the same order in every launch
  Index shared_bytes = 64 << 10;  // that a block may have
};
// Of the whole process; to be changed only while no kernel runs.
[[nodiscard]] Options& options();

struct Launch {
  Place grid, block;
  Index shared_bytes = 0;  // dynamic
  Here here;               // the launcher
  std::string_view call;   // what it launches, for messages: the name of the kernel's argument
  void (*body)(const void*) = nullptr;
  const void* argument = nullptr;
};
// Runs body(argument) once for each thread of each block. One launch at a time; others wait.
void run(const Launch& launch);

// What follows is asked by a thread of a kernel; host_target.h gives it the vocabulary's names.

inline constexpr int kMaxThreads = 1024;  // of a block
inline constexpr int kMaxLanes = 64;      // of a warp

[[nodiscard]] Place thread_place();
[[nodiscard]] Place block_place();
[[nodiscard]] Place block_extent();
[[nodiscard]] Place grid_extent();

void barrier(const Here& here = Here::current());

// Every lane's bits, in order of lanes; they stay until the warp's next but one exchange.
[[nodiscard]] const std::uint64_t* exchange(int width, std::uint64_t bits, const Here& here);

// This thread's lane and warp, in a one-dimensional block.
[[nodiscard]] int lane(int width, const Here& here);
[[nodiscard]] int warp(int width, const Here& here);

// The block's array of this key.
[[nodiscard]] void* shared_array(const void* key, std::size_t bytes, std::size_t alignment, const char* name,
                                 const Here& here);
[[nodiscard]] void* dynamic_shared();  // aligned to 64 bytes

// The kernel did what it must not.
[[noreturn]] void fail(const Here& here, const std::string& what);

}  // namespace mlbench::gpu::executor
