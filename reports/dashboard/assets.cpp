#include "reports/dashboard/assets.h"

#include "reports/include_file.h"

MLBENCH_INCLUDE_FILE(mlbench_dashboard_html, MLBENCH_DASHBOARD_HTML);
MLBENCH_INCLUDE_FILE(mlbench_dashboard_css, MLBENCH_DASHBOARD_CSS);
MLBENCH_INCLUDE_FILE(mlbench_dashboard_js, MLBENCH_DASHBOARD_JS);

namespace mlbench::reports::dashboard {

std::string_view body_html() { return assets::between(mlbench_dashboard_html, mlbench_dashboard_html_end); }
std::string_view style_sheet() { return assets::between(mlbench_dashboard_css, mlbench_dashboard_css_end); }
std::string_view scripts() { return assets::between(mlbench_dashboard_js, mlbench_dashboard_js_end); }

}  // namespace mlbench::reports::dashboard
