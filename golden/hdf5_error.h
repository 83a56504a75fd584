// What the HDF5 library says of its last failure.
#pragma once

#include <string>

namespace mlbench::golden {

// The most specific message on HDF5's error stack.
[[nodiscard]] std::string library_reason();

}  // namespace mlbench::golden
