// Verifications of backends, for people and for programs. One command makes one or several of them.
#pragma once

#include <span>
#include <string>

#include <nlohmann/json.hpp>

#include "core/results.h"

namespace mlbench::reports {

// A table with a row per kind of tap, its worst check in each mode, then what else was looked at, and the verdict with
// its reasons. A failed one ends with its failures by cause, the first tap that strays and the command that runs just
// that again. Warnings are not part of it.
[[nodiscard]] std::string to_text(const BackendVerification& result, bool color);

// The verdicts of several, one line each.
[[nodiscard]] std::string summary_text(std::span<const BackendVerification> results, bool color);

// Documented in docs/reports.md; verify.schema.json is its schema. Numbers that are not finite are null.
[[nodiscard]] nlohmann::ordered_json to_json(std::span<const BackendVerification> results);

// Of all runs: failed when one failed or its backend threw, then untrusted when one is, then passed when one passed.
[[nodiscard]] BackendVerification::Verdict verdict_of(std::span<const BackendVerification> results);

// "isolated batch_decode (batch/2 batch_decode), sequence 0, ...": where a check strays and by how much.
[[nodiscard]] std::string describe_failure(const TapCheck& check);

// "tp 2, pp 2 (2 micro-batches) on 4 ranks of node1, node2"; of a model in one piece, and in this process, nothing.
[[nodiscard]] std::string split_text(const SplitDescription& split);

}  // namespace mlbench::reports
