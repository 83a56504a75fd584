#include "core/tensor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace mlbench {

Index element_count(const Shape& shape) {
  Index count = 1;
  for (const Index dim : shape) count *= dim;
  return count;
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

}  // namespace mlbench
