// The memory that a backend is given: full of poison where it must write, unchanged where it must only read, and
// between canaries.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/results.h"
#include "core/tensor_view.h"

namespace mlbench::harness {

// Sees what fails a run without being a tap's error.
using FaultReport = std::function<void(Finding)>;

class GuardedTensor {
 public:
  // An output: every byte is 0xff, a NaN in every type.
  GuardedTensor(DType dtype, Shape shape);
  // An input.
  explicit GuardedTensor(const HostTensor& values);

  [[nodiscard]] TensorView view() { return {dtype_, shape_, at(0)}; }
  // What stands in it now.
  [[nodiscard]] HostTensor values() const;

  // After a call: memory.canary where bytes around it changed, memory.input where an input did, memory.unwritten where
  // one of the first `expected` elements of an output (-1: all) is still poison.
  void check(const std::string& where, const FaultReport& report, Index expected = -1) const;

 private:
  [[nodiscard]] std::byte* at(std::size_t byte) { return storage_.data() + begin_ + byte; }
  [[nodiscard]] const std::byte* at(std::size_t byte) const { return storage_.data() + begin_ + byte; }

  DType dtype_;
  Shape shape_;
  std::size_t size_;   // bytes
  std::size_t begin_;  // of the values in the storage
  std::vector<std::byte> storage_;
  std::vector<std::byte> before_;  // an input's bytes; empty: an output
};

}  // namespace mlbench::harness
