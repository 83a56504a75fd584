#include "reports/html_run.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "reports/backend_report.h"
#include "reports/codes.h"
#include "reports/figures.h"
#include "reports/heat_map.h"
#include "reports/schedules.h"
#include "reports/tap_summary.h"

namespace mlbench::reports {
namespace {

using nlohmann::ordered_json;

std::string code(std::string_view text) { return text.empty() ? "" : fmt::format("<code>{}</code>", html_text(text)); }

std::string head(const BackendVerification& r, std::size_t index) {
  std::vector<std::string> facts;
  const auto add = [&](std::string_view what, const std::string& text) {
    if (!text.empty()) facts.push_back(fmt::format("{}{}{}", what, what.empty() ? "" : " ", html_text(text)));
  };
  add("", r.architecture);
  add("", r.version);
  add("device", r.device);
  add("", split_text(r.split));
  for (const auto& [what, type] : r.arithmetic) add(html_text(what), type);
  add("seed", fmt::format("{}", r.seed));
  add("golden", r.golden);
  return fmt::format("<div class=\"head\" id=\"run-{}\"><h2>{} on {}, {}</h2>{}</div>\n<p class=\"soft\">{}</p>\n",
                     index, html_text(r.model), html_text(r.backend), html_text(r.dtype), badge(r.verdict()),
                     fmt::join(facts, " &middot; "));
}

std::string finding(const Finding& f, std::string_view kind) {
  std::string out = fmt::format("<div class=\"finding {}\"><b>{}</b>{}{}<br>{}", kind, html_text(f.code),
                                f.where.empty() ? "" : " in ", code(f.where), html_text(f.text));
  const auto known = std::ranges::find(codes(), f.code, [](const Code& c) { return c.code; });
  if (known != codes().end()) {
    out += fmt::format("<br><span class=\"soft\">{} {}</span>", html_text(known->means), html_text(known->remedy));
  }
  return out + "</div>\n";
}

std::string findings(const BackendVerification& r) {
  std::string out;
  if (!r.error.empty()) {
    out += fmt::format("<div class=\"finding\"><b>the backend failed</b><br>{}</div>\n", html_text(r.error));
  }
  for (const Finding& f : r.faults) out += finding(f, "fault");
  for (const Finding& f : r.untrusted) out += finding(f, "untrusted");
  for (const std::string& warning : r.warnings) {
    out += fmt::format("<div class=\"finding note\"><b>warning</b><br>{}</div>\n", html_text(warning));
  }
  return out;
}

std::string failures(const BackendVerification& r) {
  const std::vector<Cause> causes = causes_of(r);
  if (causes.empty()) return "";
  std::string out =
      fmt::format("<p><b>First tap that strays:</b> {}</p>\n", html_text(describe_failure(*r.first_failure())));
  if (!r.again.empty()) out += fmt::format("<p>Again:</p>\n<pre>{}</pre>\n", html_text(r.again));
  out +=
      "<h3>Failures by cause</h3>\n<div class=\"scroll\"><table class=\"list\"><thead><tr><th>mode</th><th>tap</th>"
      "<th class=\"right\">failed</th><th>layers</th><th class=\"right\">calls</th><th>looks like</th><th>first in</th>"
      "<th class=\"right\">error / limit</th></tr></thead><tbody>\n";
  for (const Cause& cause : causes) {
    out += fmt::format(
        "<tr><td>{}</td><td>{}</td><td class=\"right\">{}</td><td>{}</td><td class=\"right\">{}</td><td>{}</td><td>{}"
        "</td><td class=\"right\">{}</td></tr>\n",
        modes_text(cause), code(cause.kind), cause.checks, layers_text(cause), cause.calls.size(),
        html_text(cause.guess), code(cause.first->call), ratio_text(*cause.first));
  }
  return out + "</tbody></table></div>\n";
}

std::string maps(const BackendVerification& r, std::size_t index, ordered_json& charts) {
  if (r.checks.empty()) return "";
  const HeatMap map(r);
  std::string out = "<h3>Worst error / limit by tap and layer</h3>\n" + HeatMap::legend();
  for (const VerifyMode mode : kVerifyModes) {
    if (!map.has(mode)) continue;
    const ordered_json spread = map.spread(mode);
    const std::string id = fmt::format("spread-{}-{}", index, name(mode));
    out += fmt::format(
        "<h3>{}</h3>\n<div class=\"mode\"><div class=\"heat\">{}</div>\n<div class=\"chart\"><h4>share of a tap's "
        "checks "
        "in each colour</h4><div style=\"height: {}px\"><canvas id=\"{}\"></canvas></div></div></div>\n",
        name(mode), map.table(mode), 40 + 21 * spread["taps"].size(), id);
    charts.push_back({{"id", id}, {"spread", spread}});
  }
  if (map.has_layers()) {
    const std::string id = fmt::format("layers-{}", index);
    out += fmt::format(
        "<h3>By layer</h3>\n<div class=\"chart\"><div style=\"height: 260px\"><canvas "
        "id=\"{}\"></canvas></div></div>\n",
        id);
    charts.push_back({{"id", id}, {"layers", map.by_layer()}});
  }
  return out;
}

std::string tile(const std::string& figure, const std::string& what) {
  return fmt::format("<div class=\"tile\"><b>{}</b><span>{}</span></div>\n", figure, html_text(what));
}

std::string logits(const BackendVerification& r) {
  if (!r.logits) return "";
  const LogitsAgreement& l = *r.logits;
  const std::string share =
      std::isfinite(l.mean_top10_overlap) ? fmt::format("{:.4g}%", 100.0 * l.mean_top10_overlap) : "not finite";
  const std::string where = l.max_kl_call.empty() ? "" : ", in " + l.max_kl_call;
  return "<h3>Logits against the reference's</h3>\n<div class=\"tiles\">\n" +
         tile(number(l.mean_kl), "mean KL divergence, nats") + tile(number(l.max_kl), "largest, nats" + where) +
         tile(fmt::format("{} of {}", l.same_top1, l.rows),
              fmt::format("rows with the same top token; {} more within the limits", l.close_top1)) +
         tile(share, "of the ten most likely tokens shared") + "</div>\n";
}

std::string schedules(const BackendVerification& r) {
  if (r.schedules.empty()) return "";
  const ScheduleMatrix matrix = schedule_matrix(r);
  std::string out =
      "<h3>Schedules</h3>\n<p class=\"soft\">The same rows computed in two ways: difference / limit; = where bitwise "
      "equal.</p>\n<div class=\"scroll\"><table class=\"square\"><thead><tr><th></th>";
  for (const std::string& name : matrix.names) out += fmt::format("<th>{}</th>", html_text(name));
  out += "</tr></thead><tbody>\n";
  for (std::size_t a = 0; a < matrix.names.size(); ++a) {
    out += fmt::format("<tr><th>{}</th>", html_text(matrix.names[a]));
    for (const ScheduleComparison* pair : matrix.pairs[a]) {
      if (pair == nullptr) {
        out += "<td></td>";
        continue;
      }
      // A pair that failed is beyond the limit, whatever its ratio says.
      const double ratio = pair->passed || pair->ratio > 1.0 ? pair->ratio : INFINITY;
      out += fmt::format(R"(<td class="b{}" title="{}">{}{}</td>)", pair->bitwise ? 0 : band_of(ratio),
                         html_text(describe(*pair)), cell_text(*pair), pair->passed ? "" : " failed");
    }
    out += "</tr>\n";
  }
  out += "</tbody></table></div>\n";
  for (const ScheduleComparison& pair : r.schedules) {
    if (!pair.passed) out += fmt::format("<div class=\"finding\">{}</div>\n", html_text(describe(pair)));
  }
  return out;
}

std::string invariances(const BackendVerification& r) {
  if (r.invariances.empty()) return "";
  std::string out =
      "<h3>Invariances</h3>\n<div class=\"scroll\"><table class=\"list\"><thead><tr><th>property</th><th>bitwise</th>"
      "<th class=\"right\">largest difference</th><th>first tap</th><th>call</th></tr></thead><tbody>\n";
  for (const Invariance& i : r.invariances) {
    const char* holds = i.holds ? "yes" : i.required ? "NO" : "no, not required";
    out += fmt::format("<tr><td>{}</td><td{}>{}</td><td class=\"right\">{}</td><td>{}</td><td>{}</td></tr>\n",
                       html_text(i.property), !i.holds && i.required ? " class=\"bad\"" : "", holds,
                       number(i.max_difference), code(i.first_tap), code(i.call));
  }
  return out + "</tbody></table></div>\n";
}

std::string distances(const BackendVerification& r) {
  if (r.distances.empty()) return "";
  std::string out =
      "<h3>Distance to the golden</h3>\n<p class=\"soft\">max|difference| / max|golden|, not judged.</p>\n"
      "<table class=\"list\"><thead><tr><th>tap</th><th class=\"right\">distance</th><th>worst in</th></tr></thead>"
      "<tbody>\n";
  for (const GoldenDistance& d : r.distances) {
    out += fmt::format("<tr><td>{}</td><td class=\"right\">{}</td><td>{}</td></tr>\n", code(d.kind), number(d.distance),
                       code(d.call));
  }
  return out + "</tbody></table>\n";
}

std::string unsupported(const BackendVerification& r) {
  if (r.unsupported.empty()) return "";
  std::string out =
      "<h3>Not done</h3>\n<div class=\"scroll\"><table "
      "class=\"list\"><thead><tr><th>unsupported</th><th>reason</th></tr>"
      "</thead><tbody>\n";
  for (const Unsupported& u : r.unsupported) {
    out += fmt::format("<tr><td>{}</td><td>{}</td></tr>\n", code(u.what), html_text(u.reason));
  }
  return out + "</tbody></table></div>\n";
}

}  // namespace

std::string badge(BackendVerification::Verdict verdict) {
  return fmt::format("<span class=\"badge {0}\">{0}</span>", name(verdict));
}

std::string html_of_run(const BackendVerification& r, std::size_t index, ordered_json& charts) {
  return "<div class=\"card\">\n" + head(r, index) + findings(r) + failures(r) + maps(r, index, charts) + logits(r) +
         schedules(r) + invariances(r) + distances(r) + unsupported(r) + "</div>\n";
}

}  // namespace mlbench::reports
