#include "golden/digest.h"

#include <bit>

#include <fmt/format.h>

#include "core/hash.h"

namespace mlbench::golden {
namespace {

static_assert(std::endian::native == std::endian::little, "values are hashed as they lie in memory");

// fnv1a() of core/hash.h, going on from `hash`: shape and values are one stream, and lie apart.
std::uint64_t go_on(std::uint64_t hash, std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) hash = (hash ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3U;
  return hash;
}

std::string digest_of_bytes(const Shape& shape, std::span<const std::byte> values) {
  const auto rank = static_cast<Index>(shape.size());
  std::uint64_t hash = fnv1a("");
  hash = go_on(hash, std::as_bytes(std::span(&rank, 1)));
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
