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

std::string_view name(VerifyMode mode) {
  switch (mode) {
    case VerifyMode::isolated: return "isolated";
    case VerifyMode::chained: return "chained";
    case VerifyMode::exact: return "exact";
  }
  return "";
}

std::string_view name(Inputs inputs) {
  switch (inputs) {
    case Inputs::random: return "random";
    case Inputs::exact: return "exact";
    case Inputs::adversarial: return "adversarial";
  }
  return "";
}

std::optional<Inputs> parse_inputs(std::string_view text) {
  for (const Inputs inputs : kInputs) {
    if (name(inputs) == text) return inputs;
  }
  return std::nullopt;
}

const TapCheck* BackendVerification::first_failure() const {
  for (const VerifyMode mode : {VerifyMode::isolated, VerifyMode::exact, VerifyMode::chained}) {
    const auto it = std::find_if(checks.begin(), checks.end(),
                                 [mode](const TapCheck& check) { return check.mode == mode && !check.passed; });
    if (it != checks.end()) return &*it;
  }
  return nullptr;
}

BackendVerification::Verdict BackendVerification::verdict() const {
  if (!error.empty()) return Verdict::error;
  const auto broken = [](const Invariance& i) { return i.required && !i.holds; };
  const auto apart = [](const ScheduleComparison& s) { return !s.passed; };
  if (first_failure() != nullptr || !faults.empty() || std::any_of(schedules.begin(), schedules.end(), apart) ||
      std::any_of(invariances.begin(), invariances.end(), broken)) {
    return Verdict::failed;
  }
  if (checks.empty()) return Verdict::unsupported;
  return untrusted.empty() ? Verdict::passed : Verdict::untrusted;
}

std::string_view name(BackendVerification::Verdict verdict) {
  using Verdict = BackendVerification::Verdict;
  switch (verdict) {
    case Verdict::passed: return "passed";
    case Verdict::failed: return "failed";
    case Verdict::untrusted: return "untrusted";
    case Verdict::error: return "error";
    case Verdict::unsupported: return "unsupported";
  }
  return "";
}

}  // namespace mlbench
