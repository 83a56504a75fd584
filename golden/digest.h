// What a golden says of each dataset, so that damage to its values is seen: a digest of shape and values.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/tensor.h"

namespace mlbench::golden {

// FNV-1a, 64 bits (core/hash.h), as 16 hexadecimal digits, of: the number of dimensions, each dimension, each value,
// all as 8 bytes, least significant first.
[[nodiscard]] std::string digest_of(const Shape& shape, std::span<const double> values);
[[nodiscard]] std::string digest_of(const Shape& shape, std::span<const std::int64_t> values);

template <class T>
[[nodiscard]] std::string digest_of(const Tensor<T>& tensor) {
  return digest_of(tensor.shape(), tensor.values());
}

}  // namespace mlbench::golden
