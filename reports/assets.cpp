#include "reports/assets.h"

#include "reports/include_file.h"

MLBENCH_INCLUDE_FILE(mlbench_chart_js, MLBENCH_CHART_JS);
MLBENCH_INCLUDE_FILE(mlbench_page_css, MLBENCH_PAGE_CSS);
MLBENCH_INCLUDE_FILE(mlbench_page_js, MLBENCH_PAGE_JS);
MLBENCH_INCLUDE_FILE(mlbench_standard_sweep, MLBENCH_STANDARD_SWEEP);

namespace mlbench::reports::assets {

std::string_view chart_js() { return between(mlbench_chart_js, mlbench_chart_js_end); }
std::string_view page_css() { return between(mlbench_page_css, mlbench_page_css_end); }
std::string_view page_js() { return between(mlbench_page_js, mlbench_page_js_end); }
std::string_view standard_sweep() { return between(mlbench_standard_sweep, mlbench_standard_sweep_end); }

}  // namespace mlbench::reports::assets
