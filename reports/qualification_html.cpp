#include <algorithm>
#include <cmath>
#include <iterator>

#include <fmt/format.h>

#include "reports/bench_row.h"
#include "reports/figures.h"
#include "reports/html_page.h"
#include "reports/qualification_report.h"
#include "reports/qualification_tables.h"

namespace mlbench::reports {
namespace {

using nlohmann::ordered_json;

constexpr double kMega = 1e6, kGiga = 1e9;

// A table of the page; cells are markup.
class Rows {
 public:
  struct Column {
    const char* title;
    bool right = false;
  };
  explicit Rows(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(const std::vector<std::string>& cells) {
    body_ += "<tr>";
    for (std::size_t i = 0; i < cells.size(); ++i)
      body_ += fmt::format("<td{}>{}</td>", columns_[i].right ? " class=\"right\"" : "", cells[i]);
    body_ += "</tr>\n";
  }
  [[nodiscard]] bool empty() const { return body_.empty(); }
  [[nodiscard]] std::string html() const {
    std::string head;
    for (const Column& column : columns_)
      head += fmt::format("<th{}>{}</th>", column.right ? " class=\"right\"" : "", column.title);
    return fmt::format(
        "<div class=\"scroll\"><table class=\"list\"><thead><tr>{}</tr></thead><tbody>\n{}</tbody></table></div>\n",
        head, body_);
  }

 private:
  std::vector<Column> columns_;
  std::string body_;
};

// A verdict's colours are those of verifications.
std::string badge_of(std::string_view verdict) {
  const bool grey = verdict == "skipped" || verdict == "not run" || verdict == "unsupported";
  const bool good = verdict == "passed" || verdict == "sampled";
  const char* kind = good ? "passed" : grey ? "unsupported" : verdict == "untrusted" ? "untrusted" : "failed";
  return fmt::format("<span class=\"badge {}\">{}</span>", kind, html_text(verdict));
}

// A name in the folder as the address of a link: nothing of it is anything but a path.
std::string address(const std::string& name) {
  std::string out = "./";
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-_./").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string link(const std::string& name, const std::string& text) {
  return fmt::format("<a href=\"{}\">{}</a>", address(name), html_text(text));
}
std::string link(const std::string& name) { return link(name, name); }

// What a file of a step is called beside it: by its form.
std::string form_of(const std::string& file, const std::string& step) {
  if (file == "logs/" + step + ".log") return "log";
  return file.starts_with(step + ".") ? file.substr(step.size() + 1) : file;
}

std::string ratio_or_dash(const std::optional<double>& value) { return value ? number(*value) : "-"; }

std::string yes_or_no(const std::optional<bool>& holds) { return !holds ? "-" : *holds ? "same bits" : "differ"; }

std::string card(const std::string& title, const std::string& body) {
  return body.empty() ? "" : fmt::format("<div class=\"card\"><h2>{}</h2>\n{}</div>\n", title, body);
}

std::string tile(const std::string& figure, const std::string& what) {
  return fmt::format("<div class=\"tile\"><b>{}</b><span>{}</span></div>\n", html_text(figure), html_text(what));
}

std::string soft(const std::string& text) { return fmt::format("<p class=\"soft\">{}</p>\n", text); }

// ---- the cards ----

std::string summary(const Qualification& q) {
  std::string out = fmt::format("<p>{}</p>\n<div class=\"tiles\">\n", html_text(q.description));
  out += tile(q.backend + (q.version.empty() ? "" : " " + q.version), "backend");
  out += tile(q.device.empty() ? "the backend's first" : q.device, "device");
  out += tile(fmt::format("{} of {}", q.count(StepVerdict::passed), q.steps.size()), "steps passed");
  double seconds = 0.0;
  for (const QualificationStep& step : q.steps) seconds += step.seconds;
  constexpr double kMinute = 60.0;
  out += tile(fmt::format("{:.1f} min", seconds / kMinute), q.quick ? "quick" : "full");
  out += "</div>\n" + soft(fmt::format("{} &middot; {} to {} &middot; {}", html_text(q.program), html_text(q.started),
                                       html_text(q.finished), counts_text(q)));
  out += fmt::format("<pre>{}</pre>\n", html_text(q.command));
  for (const std::string& warning : q.warnings)
    out += fmt::format("<div class=\"finding note\"><b>warning</b><br>{}</div>\n", html_text(warning));
  return out;
}

std::string steps(const Qualification& q) {
  Rows rows({{"step"}, {"verdict"}, {"seconds", true}, {"files"}, {"note"}});
  std::string findings;
  for (const QualificationStep& step : q.steps) {
    std::string files;
    for (const std::string& file : step.files)
      files += (files.empty() ? "" : ", ") + link(file, form_of(file, step.name));
    const bool ran = step.verdict != StepVerdict::skipped && step.verdict != StepVerdict::not_run;
    rows.add({html_text(step.name), badge_of(name(step.verdict)), ran ? fmt::format("{:.1f}", step.seconds) : "", files,
              html_text(step.note)});
    if (!step.finding.empty())
      findings += fmt::format("<h3>{}</h3>\n<pre>{}</pre>\n", html_text(step.name), html_text(step.finding));
  }
  return rows.html() + findings;
}

std::string inventory(const Qualification& q) {
  Rows rows({{"what"}, {"is"}});
  for (const auto& [fact, value] : q.inventory) rows.add({html_text(fact), html_text(value)});
  return rows.empty() ? "" : rows.html() + soft("Whole, with what the vendor's tools say: " + link("machine.txt"));
}

std::string verifications(const Qualification& q) {
  Rows rows({{"model"},
             {"type"},
             {"verdict"},
             {"checks", true},
             {"failed", true},
             {"isolated", true},
             {"chained", true},
             {"exact", true},
             {"run to run"},
             {"alone = in a batch"},
             {"taps on = off"}});
  for (const VerifiedRow& r : verified_rows(q))
    rows.add({html_text(r.architecture), html_text(r.dtype), badge_of(r.verdict), fmt::format("{}", r.checks),
              fmt::format("{}", r.failed), ratio_or_dash(r.isolated), ratio_or_dash(r.chained), ratio_or_dash(r.exact),
              yes_or_no(r.run_to_run), yes_or_no(r.batch), yes_or_no(r.taps)});
  if (rows.empty()) return "";
  return rows.html() + soft(
                           "isolated, chained, exact: the largest error / limit against the float64 reference; up to 1 "
                           "passes. The last three: whether the same rows come out with the same bits.");
}

std::string probe(const Qualification& q) {
  Rows rows({{"type"}, {"threads", true}, {"memory read, GB/s", true}, {"products, GFLOP/s", true}});
  for (const ProbeResult& p : probe_rows(q))
    rows.add({html_text(p.dtype), fmt::format("{}", p.threads), fmt::format("{:.4g}", p.read_bytes_per_second / kGiga),
              fmt::format("{:.4g}", p.flops_per_second / kGiga)});
  return rows.empty() ? "" : rows.html();
}

std::string bench(const Qualification& q) {
  Rows rows({{"model"},
             {"type"},
             {"sequences", true},
             {"prompt", true},
             {"method"},
             {"tokens/s", true},
             {"of the rate of products", true},
             {"of the bandwidth", true},
             {"outputs"}});
  const auto percent = [](const std::optional<double>& share) {
    return share ? fmt::format("{:.1f}%", 100.0 * *share) : std::string("-");
  };
  for (const BenchRow& r : bench_rows(q))
    rows.add({html_text(r.point.model), html_text(r.point.dtype), fmt::format("{}", r.point.batch),
              fmt::format("{}", r.point.prompt), html_text(r.method),
              r.tokens_per_second ? fmt::format("{:.5g}", r.tokens_per_second->value) : "-", percent(r.mfu),
              percent(r.mbu), badge_of(outcome(r))});
  return rows.empty() ? "" : rows.html();
}

// One chart for each unit.
std::string telemetry(const ordered_json& document, ordered_json& charts) {
  const ordered_json from = document.value("telemetry", ordered_json::object());
  std::vector<std::string> units;
  for (const ordered_json& series : from.value("series", ordered_json::array())) {
    const std::string unit = series.value("unit", "");
    if (!unit.empty() && std::ranges::find(units, unit) == units.end()) units.push_back(unit);
  }
  std::string out;
  for (std::size_t i = 0; i < units.size(); ++i) {
    ordered_json lines = ordered_json::array(), faults = ordered_json::array();
    double top = 0.0;
    for (const ordered_json& series : from.at("series")) {
      if (series.value("unit", "") != units[i]) continue;
      lines.push_back({{"name", series.value("name", "")}, {"values", series.value("values", ordered_json::array())}});
      top = std::max(top, series.value("most", 0.0));
    }
    for (const ordered_json& fault : document.value("faults", ordered_json::array()))
      faults.push_back(fault.value("seconds", 0.0));
    const std::string id = fmt::format("telemetry-{}", i);
    out +=
        fmt::format("<div class=\"chart\"><div style=\"height: 200px\"><canvas id=\"{}\"></canvas></div></div>\n", id);
    charts.push_back({{"id", id},
                      {"series",
                       {{"unit", units[i]},
                        {"seconds", from.value("seconds", ordered_json::array())},
                        {"lines", lines},
                        {"faults", faults},
                        {"low", 0},
                        {"top", top}}}});
  }
  Rows counters({{"counted"}, {"before", true}, {"after", true}});
  for (const ordered_json& series : from.value("series", ordered_json::array())) {
    if (series.value("counter", false))
      counters.add(
          {html_text(series.value("name", "")), number(series.value("first", NAN)), number(series.value("last", NAN))});
  }
  if (!counters.empty()) out += counters.html();
  std::string unknown;
  for (const ordered_json& name : from.value("not_known", ordered_json::array()))
    unknown += (unknown.empty() ? "" : ", ") + html_text(name.get<std::string>());
  if (!unknown.empty()) out += soft("Not known here: " + unknown + ".");
  for (const ordered_json& warning : from.value("warnings", ordered_json::array()))
    out += fmt::format("<div class=\"finding note\">{}</div>\n", html_text(warning.get<std::string>()));
  return out;
}

std::string fault_line(const ordered_json& f) {
  const auto value = [&](const char* field) {
    const ordered_json at = f.value(field, ordered_json());
    return at.is_number() ? fmt::format("{:.9g}", at.get<double>()) : std::string("not a number");
  };
  const auto bits = [&](const char* field) {
    const ordered_json at = f.value(field, ordered_json());
    return at.is_string() ? " (" + at.get<std::string>() + ")" : std::string();
  };
  return fmt::format(
      "<div class=\"finding\"><b>wrong value after {:.3f} s</b>, {}, iteration {}: {} {} in {}, sequence {}, position "
      "{} "
      "is {}{}, must be {}{}; {}</div>\n",
      f.value("seconds", 0.0), html_text(f.value("time", "")), f.value("iteration", Index{0}),
      html_text(f.value("tap", "")), html_text(f.value("element", "")), html_text(f.value("call", "")),
      f.value("sequence", Index{0}), f.value("position", Index{0}), value("computed"), html_text(bits("computed_bits")),
      value("expected"), html_text(bits("expected_bits")), html_text(f.value("again", "")));
}

std::string soak(const Qualification& q, ordered_json& charts) {
  const ordered_json* document = document_of(q, "soak");
  if (document == nullptr) return "";
  constexpr std::size_t kShown = 20;
  const ordered_json iterations = document->value("iterations", ordered_json::object());
  std::string out = fmt::format("<p>{} {}, {}</p>\n<div class=\"tiles\">\n", badge_of(document->value("verdict", "")),
                                html_text(document->value("model", "")), html_text(document->value("dtype", "")));
  out += tile(fmt::format("{:.1f} s", document->value("seconds", 0.0)), "under load");
  out += tile(fmt::format("{}", iterations.value("all", Index{0})),
              fmt::format("iterations, {} with taps", iterations.value("with_taps", Index{0})));
  out += tile(
      fmt::format("{:.4g} million", static_cast<double>(document->value("values_compared", std::uint64_t{0})) / kMega),
      "values compared");
  out += tile(fmt::format("{}", iterations.value("wrong", Index{0})), "iterations with a wrong value");
  out += "</div>\n" + soft("Asked for: " + html_text(document->value("criterion", "")) + ".");
  const ordered_json faults = document->value("faults", ordered_json::array());
  for (std::size_t i = 0; i < std::min(kShown, faults.size()); ++i) out += fault_line(faults[i]);
  return out + telemetry(*document, charts);
}

std::string siblings(const Qualification& q) {
  const ordered_json* document = document_of(q, "siblings");
  if (document == nullptr) return "";
  const ordered_json names = document->value("siblings", ordered_json::array());
  const ordered_json figures = document->value("figures", ordered_json::array());
  Rows rows({{"figure"}, {"unit"}, {"sibling"}, {"value", true}, {"median", true}, {"apart", true}, {""}});
  for (const ordered_json& figure : figures) {
    const ordered_json values = figure.value("values", ordered_json::array());
    const double median = figure.value("median", NAN);
    for (std::size_t i = 0; i < std::min(names.size(), values.size()); ++i) {
      if (!values[i].is_number()) continue;
      const std::string name = names[i].get<std::string>();
      const auto outliers = figure.value("outliers", ordered_json::array());
      const bool out = std::ranges::any_of(outliers, [&](const auto& o) { return o.value("sibling", "") == name; });
      rows.add({html_text(figure.value("name", "")), html_text(figure.value("unit", "")), html_text(name),
                number(values[i].get<double>()), number(median),
                fmt::format("{:+.1f}%", 100.0 * (values[i].get<double>() / median - 1.0)),
                out ? "<b>lies apart</b>" : ""});
    }
  }
  return fmt::format("<p>{}: {}</p>\n", badge_of(document->value("verdict", "")),
                     html_text(document->value("summary", ""))) +
         rows.html() + soft(html_text(document->value("meaning", "")));
}

}  // namespace

std::string to_html(const Qualification& q) {
  ordered_json charts = ordered_json::array();
  const std::string of_soak = soak(q, charts);
  std::string body = fmt::format("<div class=\"head\"><h1>Qualification of {}</h1>{}</div>\n",
                                 html_text(q.device.empty() ? q.backend : q.device), badge_of(verdict_text(q)));
  body += card("Summary", summary(q)) + card("Steps", steps(q)) + card("Inventory", inventory(q));
  body += card("Verification and invariances", verifications(q)) + card("What the device reaches", probe(q));
  body += card("Prefill and decode", bench(q)) + card("Under load", of_soak) + card("Siblings", siblings(q));
  body +=
      card("Is this what was made?",
           "<p>The SHA-256 of every file stands in " + link("manifest.sha256") +
               "; <code>mlbench qualify --check</code> and this folder's path compare them, with <code>--key</code> "
               "and a public key also who signed it.</p>\n");
  return html_page("Qualification: " + verdict_text(q), body, "",
                   {{"bands", ordered_json::array()}, {"charts", charts}});
}

}  // namespace mlbench::reports
