// A small stable hash for telling texts apart; nothing that must withstand an adversary.
#pragma once

#include <cstdint>
#include <string_view>

namespace mlbench {

// FNV-1a, 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv), of a text, or going on from the hash of what stood before it.
inline constexpr std::uint64_t kFnv1aOfNothing = 0xcbf29ce484222325U;
[[nodiscard]] constexpr std::uint64_t fnv1a(std::string_view text, std::uint64_t hash = kFnv1aOfNothing) {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

// The step and finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): scattered bits from a seed and a place.
[[nodiscard]] constexpr std::uint64_t scattered(std::uint64_t seed, std::uint64_t index = 0) {
  std::uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15U;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31U);
}

}  // namespace mlbench
