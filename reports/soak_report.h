// A soak as text and as JSON (soak.schema.json).
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "core/soak_results.h"

namespace mlbench::reports {

[[nodiscard]] std::string to_text(const SoakResults& result, bool color);
[[nodiscard]] nlohmann::ordered_json to_json(const SoakResults& result);

// "after 3.2 s (2026-..), iteration 17, in workload-0/7 batch_decode, sequence 1, position 20: logits [5] is 1.5, must
// be 1.25 (bit 22 of 0x3fc00000)"
[[nodiscard]] std::string describe(const SoakFault& fault);

}  // namespace mlbench::reports
