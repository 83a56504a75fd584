// Predictions of split models, as text and JSON.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "core/prediction.h"

namespace mlbench::reports {

// For a terminal.
[[nodiscard]] std::string to_text(const Prediction& prediction, bool color);

// Format mlbench-prediction, as reports/bench.schema.json says. Text is not cleaned, as in bench_report.h.
[[nodiscard]] nlohmann::ordered_json to_json(const Prediction& prediction);

}  // namespace mlbench::reports
