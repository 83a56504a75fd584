// The shared memory of the block that runs: arrays with guarded zones between them, all of it 0xFF until it is written.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace mlbench::gpu::executor {

class SharedMemory {
 public:
  SharedMemory() = default;
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { unmap(); }

  // For a block: nothing is declared, nothing written. False: more dynamic memory than the limit.
  [[nodiscard]] bool begin(Index limit, Index dynamic_bytes);
  // The array of this key, declared when it is first asked for. Null: beyond the limit.
  [[nodiscard]] void* array(const void* key, std::size_t bytes, std::size_t alignment, const char* name);
  [[nodiscard]] void* dynamic() const { return dynamic_; }
  [[nodiscard]] std::size_t declared_bytes() const { return declared_; }
  // What was written outside of the arrays, in words.
  [[nodiscard]] std::optional<std::string> overrun() const;

 private:
  struct Array {
    const void* key;
    std::byte* data;
    std::size_t bytes;
    const char* name;
  };

  void map(std::size_t size);
  void unmap();
  [[nodiscard]] void* add(const void* key, std::size_t bytes, std::size_t alignment, const char* name);

  std::byte* memory_ = nullptr;
  std::size_t size_ = 0;
  std::size_t used_ = 0;  // from memory_ on, zones included
  std::size_t limit_ = 0, declared_ = 0;
  std::vector<Array> arrays_;  // as they stand in memory
  void* dynamic_ = nullptr;
};

}  // namespace mlbench::gpu::executor
