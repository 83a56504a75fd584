// Whether the machine has the memory that a run will need, asked before anything is allocated.
#pragma once

#include <cstdint>
#include <string>

namespace mlbench::harness {

// What the system could give to a program now; 0 where it does not say.
[[nodiscard]] std::uint64_t available_memory_bytes();

// The most that this process has held so far.
[[nodiscard]] std::uint64_t peak_memory_bytes();

// Throws memory.exceeded (a request error) that names `what`, when `bytes` is more than that.
void require_memory(std::uint64_t bytes, const std::string& what);

}  // namespace mlbench::harness
