// Files that the program carries inside itself (assets.cpp says from where).
#pragma once

#include <string_view>

namespace mlbench::reports::assets {

[[nodiscard]] std::string_view chart_js();  // Chart.js, whole, with its licence at the top
[[nodiscard]] std::string_view page_css();
[[nodiscard]] std::string_view page_js();
[[nodiscard]] std::string_view standard_sweep();  // bench/sweeps/standard.json

}  // namespace mlbench::reports::assets
