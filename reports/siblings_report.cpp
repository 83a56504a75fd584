#include "reports/siblings_report.h"

#include <fmt/format.h>

#include "reports/figures.h"
#include "reports/table.h"

namespace mlbench::reports {
namespace {

using nlohmann::ordered_json;

std::string summary(const SiblingResults& r) {
  if (r.interrupted) return "interrupted";
  if (!r.failed.empty()) return "not all could be measured";
  if (r.siblings.size() < 2) return "one alone: it has no siblings to be compared with";
  if (!r.enough) return "too few to tell one from the others: what lies apart cannot be named";
  if (!r.any_outlier()) return "none lies apart from the others";
  return r.judged ? "some lie apart from the others" : "some lie apart from the others; that is told, not judged";
}

}  // namespace

std::string to_text(const SiblingResults& r) {
  std::vector<Table::Column> columns = {{r.kind, Align::left}};
  for (const SiblingFigure& figure : r.figures) columns.push_back({figure.name + ", " + figure.unit, Align::right});
  Table table(columns);
  for (std::size_t i = 0; i < r.siblings.size(); ++i) {
    std::vector<std::string> cells = {r.siblings[i]};
    for (const SiblingFigure& figure : r.figures) cells.push_back(figure.values[i] ? number(*figure.values[i]) : "-");
    table.add(cells);
  }
  std::vector<std::string> medians = {"median"}, deviations = {"deviation"};
  for (const SiblingFigure& figure : r.figures) {
    medians.push_back(number(figure.median));
    deviations.push_back(number(figure.deviation));
  }
  table.add(medians);
  table.add(deviations);
  std::string out = table.text();
  for (const SiblingFigure& figure : r.figures) {
    for (const Outlier& outlier : figure.outliers)
      out += fmt::format("{}: {} is {:+.1f}% from the median\n", outlier.sibling, figure.name, 100.0 * outlier.share);
  }
  for (const std::string& failure : r.failed) out += fmt::format("failed: {}\n", failure);
  return out + fmt::format("{}\n{}\n", r.meaning, summary(r));
}

ordered_json to_json(const SiblingResults& r) {
  ordered_json figures = ordered_json::array();
  for (const SiblingFigure& figure : r.figures) {
    ordered_json values = ordered_json::array(), outliers = ordered_json::array();
    for (const auto& value : figure.values) values.push_back(value ? finite(*value) : ordered_json(nullptr));
    for (const Outlier& o : figure.outliers)
      outliers.push_back({{"sibling", o.sibling},
                          {"value", finite(o.value)},
                          {"share", finite(o.share)},
                          {"deviations", finite(o.deviations)}});
    figures.push_back({{"name", figure.name},
                       {"unit", figure.unit},
                       {"median", finite(figure.median)},
                       {"deviation", finite(figure.deviation)},
                       {"values", values},
                       {"outliers", outliers}});
  }
  return {{"command", "siblings"},   {"verdict", r.passed() ? "passed" : "failed"},
          {"invocation", r.command}, {"interrupted", r.interrupted},
          {"backend", r.backend},    {"kind", r.kind},
          {"judged", r.judged},      {"enough", r.enough},
          {"meaning", r.meaning},    {"summary", summary(r)},
          {"siblings", r.siblings},  {"failed", r.failed},
          {"figures", figures}};
}

}  // namespace mlbench::reports
