// Verifications of backends, for people and for programs. One command makes one or several of them.
#pragma once

#include <span>
#include <string>

#include <nlohmann/json.hpp>

#include "core/results.h"

namespace mlbench::reports {

// A table with a row per kind of tap, its worst check in each mode, and the verdict. A failed one ends with the first
// tap that strays and the command that runs just that again. Warnings are not part of it.
[[nodiscard]] std::string to_text(const BackendVerification& result, bool color);

// The verdicts of several, one line each.
[[nodiscard]] std::string summary_text(std::span<const BackendVerification> results, bool color);

// Documented in docs/verify.md. Numbers that are not finite are null.
[[nodiscard]] nlohmann::ordered_json to_json(std::span<const BackendVerification> results);

// "mode isolated, batch_decode (batch/2 batch_decode), sequence 0, ...": where a check strays and by how much.
[[nodiscard]] std::string describe_failure(const TapCheck& check);

}  // namespace mlbench::reports
