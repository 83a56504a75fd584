#include "core/soak_results.h"

namespace mlbench {

std::string_view name(Again again) {
  switch (again) {
    case Again::not_run: return "not run";
    case Again::transient: return "transient";
    case Again::repeatable: return "repeatable";
    case Again::varies: return "varies";
  }
  return "";
}

BackendVerification::Verdict SoakResults::verdict() const {
  using Verdict = BackendVerification::Verdict;
  if (!error.empty()) return Verdict::error;
  if (!check_failure.empty() || wrong_iterations > 0 || !findings.empty()) return Verdict::failed;
  return iterations == 0 ? Verdict::untrusted : Verdict::passed;
}

}  // namespace mlbench
