// The part of a page that shows one run.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "core/results.h"

namespace mlbench::reports {

// `index`: of the run on the page. What its charts show is added to `charts`, for page.js.
[[nodiscard]] std::string html_of_run(const BackendVerification& run, std::size_t index,
                                      nlohmann::ordered_json& charts);

[[nodiscard]] std::string badge(BackendVerification::Verdict verdict);

}  // namespace mlbench::reports
