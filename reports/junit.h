// Verifications as JUnit XML, in the dialect that Jenkins, GitLab and GitHub's readers take: a suite for each model,
// backend and type, a case for each mode, method and layer.
#pragma once

#include <span>
#include <string>

#include "core/results.h"

namespace mlbench::reports {

[[nodiscard]] std::string to_junit(std::span<const BackendVerification> results);

}  // namespace mlbench::reports
