#include "reports/html.h"

#include <iterator>

#include <fmt/format.h>

#include "reports/backend_report.h"
#include "reports/figures.h"
#include "reports/heat_map.h"
#include "reports/html_page.h"
#include "reports/html_run.h"
#include "reports/tap_summary.h"

namespace mlbench::reports {
namespace {

using nlohmann::ordered_json;

std::string table_of_runs(std::span<const BackendVerification> results) {
  std::string out =
      "<div class=\"scroll\"><table class=\"list\"><thead><tr><th>model</th><th>architecture</th><th>backend</th>"
      "<th>dtype</th><th class=\"right\">checks</th><th class=\"right\">isolated</th><th class=\"right\">chained</th>"
      "<th class=\"right\">exact</th><th>verdict</th></tr></thead><tbody>\n";
  for (std::size_t i = 0; i < results.size(); ++i) {
    const BackendVerification& r = results[i];
    fmt::format_to(std::back_inserter(out),
                   R"(<tr><td><a href="#run-{}">{}</a></td><td>{}</td><td>{}</td><td>{}</td><td class="right">{}</td>)",
                   i, html_text(r.model), html_text(r.architecture), html_text(r.backend), html_text(r.dtype),
                   r.checks.size());
    for (const VerifyMode mode : kVerifyModes) {
      out += fmt::format("<td class=\"right\">{}</td>", worst_text(r, mode));
    }
    out += fmt::format("<td>{}</td></tr>\n", badge(r.verdict()));
  }
  return out +
         "</tbody></table></div>\n<p class=\"soft\">isolated, chained, exact: the largest error / limit; up to 1 "
         "passes.</p>\n";
}

ordered_json bands() {
  ordered_json out = ordered_json::array();
  for (const RatioBand& band : ratio_bands()) out.push_back({{"label", band.label}, {"colour", band.colour}});
  return out;
}

}  // namespace

std::string to_html(std::span<const BackendVerification> results) {
  ordered_json charts = ordered_json::array();
  std::string runs;
  for (std::size_t i = 0; i < results.size(); ++i) runs += html_of_run(results[i], i, charts);
  const auto verdict = verdict_of(results);
  const std::string body =
      fmt::format("<div class=\"head\"><h1>mlbench verify</h1>{}</div>\n<div class=\"card\">\n{}</div>\n{}",
                  badge(verdict), table_of_runs(results), runs);
  return html_page(fmt::format("mlbench verify: {}", name(verdict)), body, HeatMap::colours(),
                   {{"bands", bands()}, {"charts", charts}});
}

}  // namespace mlbench::reports
