// A qualification as text, JSON (qualify.schema.json) and one HTML page.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "core/qualification_results.h"

namespace mlbench::reports {

[[nodiscard]] std::string to_text(const Qualification& q);
[[nodiscard]] nlohmann::ordered_json to_json(const Qualification& q);
// Links lead to files beside the page.
[[nodiscard]] std::string to_html(const Qualification& q);
// What is to be read first of every step that did not pass; empty where all did.
[[nodiscard]] std::string findings_text(const Qualification& q);

// "passed", "failed", "interrupted".
[[nodiscard]] std::string verdict_text(const Qualification& q);
// "12 passed, 2 skipped"
[[nodiscard]] std::string counts_text(const Qualification& q);

}  // namespace mlbench::reports
