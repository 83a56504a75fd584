// Token ids for plans: both ends of the vocabulary, then scattered ones; a multiplicative congruential step, so that a
// plan is the same everywhere.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.h"

namespace mlbench::harness {

class Tokens {
 public:
  Tokens(Index vocab_size, std::uint64_t seed) : vocab_(static_cast<std::uint64_t>(vocab_size)), state_(seed) {}

  std::vector<std::int32_t> take(Index count) {
    std::vector<std::int32_t> ids;
    for (Index i = 0; i < count; ++i) ids.push_back(next());
    return ids;
  }

 private:
  std::int32_t next() {
    const std::uint64_t drawn = drawn_++;
    if (drawn < 2) return drawn == 0 ? 0 : static_cast<std::int32_t>(vocab_ - 1);
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<std::int32_t>((state_ >> 33U) % vocab_);
  }

  std::uint64_t vocab_;
  std::uint64_t state_;
  std::uint64_t drawn_ = 0;
};

}  // namespace mlbench::harness
