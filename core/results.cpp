#include "core/results.h"

#include <algorithm>

namespace mlbench {

const TapResult* GoldenVerification::first_failure() const {
  const auto it = std::find_if(taps.begin(), taps.end(), [](const TapResult& tap) { return !tap.passed; });
  return it == taps.end() ? nullptr : &*it;
}

bool GoldenVerification::enough_compared() const {
  return compared_datasets > 0 && compared_datasets * 100 >= result_datasets * 95;
}

std::string_view name(VerifyMode mode) { return mode == VerifyMode::isolated ? "isolated" : "chained"; }

const TapCheck* BackendVerification::first_failure() const {
  const auto it = std::find_if(checks.begin(), checks.end(), [](const TapCheck& check) { return !check.passed; });
  return it == checks.end() ? nullptr : &*it;
}

}  // namespace mlbench
