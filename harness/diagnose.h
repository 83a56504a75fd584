// What the pattern of straying elements looks like, for whoever has to find the mistake. A guess, no verdict.
#pragma once

#include <string>

#include "harness/check_tap.h"

namespace mlbench::harness {

// "scaled by 0.707", "head 3 alone", "rows 3 and 4 exchanged", "from row 16 on"; empty where nothing fits.
[[nodiscard]] std::string diagnose(const Sight& sight);

}  // namespace mlbench::harness
