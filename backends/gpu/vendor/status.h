// What a vendor says of a call becomes an Error, ErrorKind::internal with code backend.failed.
//
// This folder is what CUDA and HIP have in common: two interfaces of the same shape, with names of their own. `Api`
// brings the names: types, the functions of the vendor as constants, and what is really different, as functions of ours
// (backends/cuda/cuda_api.h shows what all there is to an Api).
#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::gpu::vendor {

// "out of memory (cudaErrorMemoryAllocation)"
template <class Api>
[[nodiscard]] std::string text_of(typename Api::Status status) {
  return fmt::format("{} ({})", Api::error_string(status), Api::error_name(status));
}

// Throws "cuda: DOING: out of memory (cudaErrorMemoryAllocation)". What the vendor keeps of it to say again is taken
// from it, unless the device itself is lost: then every later call fails, too.
template <class Api>
[[noreturn]] void fail(typename Api::Status status, std::string_view doing) {
  static_cast<void>(Api::last_error());  // else the next launch would seem to have failed
  throw Error(ErrorKind::internal, "backend.failed",
              fmt::format("{}: {}: {}", Api::kName, doing, text_of<Api>(status)));
}

template <class Api>
void check(typename Api::Status status, std::string_view doing) {
  if (status != Api::kSuccess) fail<Api>(status, doing);
}

}  // namespace mlbench::gpu::vendor
