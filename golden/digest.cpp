#include "golden/digest.h"

#include <bit>

#include <fmt/format.h>

#include "core/hash.h"

namespace mlbench::golden {
namespace {

static_assert(std::endian::native == std::endian::little, "values are hashed as they lie in memory");

std::uint64_t go_on(std::uint64_t hash, std::span<const std::byte> bytes) {
  return fnv1a({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, hash);
}

// Shape and values are one stream, and lie apart.
std::string digest_of_bytes(const Shape& shape, std::span<const std::byte> values) {
  const auto rank = static_cast<Index>(shape.size());
  std::uint64_t hash = go_on(kFnv1aOfNothing, std::as_bytes(std::span(&rank, 1)));
  hash = go_on(hash, std::as_bytes(std::span(shape)));
  return fmt::format("{:016x}", go_on(hash, values));
}

}  // namespace

std::string digest_of(const Shape& shape, std::span<const double> values) {
  return digest_of_bytes(shape, std::as_bytes(values));
}

std::string digest_of(const Shape& shape, std::span<const std::int64_t> values) {
  return digest_of_bytes(shape, std::as_bytes(values));
}

}  // namespace mlbench::golden
