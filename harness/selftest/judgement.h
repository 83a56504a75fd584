// What a verification says of a mistake that was planted.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/results.h"
#include "core/selftest_results.h"

namespace mlbench::selftest {

// A mistake in a configuration.
struct Planting {
  std::string_view name, what;
  std::string scene;
  std::span<const std::string_view> places;  // as MistakeInfo::places and ParallelMistakeInfo::places
};

// Whether the verification blames who was verified.
[[nodiscard]] bool blamed(const BackendVerification& result);
[[nodiscard]] MistakeResult judged(const Planting& planting, const BackendVerification& result, bool executed);

}  // namespace mlbench::selftest
