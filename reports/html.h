// A report as one HTML page that needs nothing else: it opens offline, and says so to the browser.
#pragma once

#include <span>
#include <string>

#include "core/results.h"

namespace mlbench::reports {

[[nodiscard]] std::string to_html(std::span<const BackendVerification> results);

}  // namespace mlbench::reports
