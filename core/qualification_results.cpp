#include "core/qualification_results.h"

#include <algorithm>

namespace mlbench {

std::string_view name(StepVerdict verdict) {
  switch (verdict) {
    case StepVerdict::passed: return "passed";
    case StepVerdict::failed: return "failed";
    case StepVerdict::unsupported: return "unsupported";
    case StepVerdict::broken: return "broken";
    case StepVerdict::skipped: return "skipped";
    case StepVerdict::interrupted: return "interrupted";
    case StepVerdict::not_run: return "not run";
  }
  return "";
}

int Qualification::count(StepVerdict verdict) const {
  return static_cast<int>(std::ranges::count(steps, verdict, &QualificationStep::verdict));
}

bool Qualification::passed() const {
  const int passed = count(StepVerdict::passed);
  return !interrupted && passed > 0 && passed + count(StepVerdict::skipped) == static_cast<int>(steps.size());
}

}  // namespace mlbench
