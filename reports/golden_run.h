// A verification against a golden in the shape of one against the live reference, for the reports that show both alike.
#pragma once

#include "core/results.h"

namespace mlbench::reports {

// The reference ran freely: every comparison becomes a chained check. What made the run fail without a tap that strays
// becomes a fault.
[[nodiscard]] BackendVerification as_run(const GoldenVerification& result);

}  // namespace mlbench::reports
