// Benchmark runs and comparisons as JUnit XML: a suite for each model, backend and type, a case for each row.
#include <map>

#include <fmt/format.h>

#include "reports/bench_report.h"
#include "reports/bench_row.h"
#include "reports/figures.h"
#include "reports/junit_suite.h"

namespace mlbench::reports {
namespace {

// Rows by suite, both in the order of their first.
template <class Row>
std::vector<std::pair<std::string, std::vector<const Row*>>> suites_of(const std::vector<Row>& rows) {
  std::vector<std::pair<std::string, std::vector<const Row*>>> out;
  std::map<std::string, std::size_t> index;
  for (const Row& row : rows) {
    const std::string suite = fmt::format("{}.{}.{}", row.point.model, row.point.backend, row.point.dtype);
    const auto [it, fresh] = index.try_emplace(suite, out.size());
    if (fresh) out.push_back({suite, {}});
    out[it->second].second.push_back(&row);
  }
  return out;
}

// ---- runs ----

std::string figures_of(const BenchRow& row, const std::vector<FigureColumn>& columns) {
  std::string out = "check " + outcome(row);
  for (const FigureColumn& column : columns) {
    if (const std::string cell = column.cell(row); cell != "-") out += fmt::format(", {} {}", column.head.title, cell);
  }
  if (!row.check_text.empty()) out += "; " + row.check_text;
  return out;
}

void add_row(JUnitSuite& suite, const BenchRow& row, const std::vector<FigureColumn>& columns) {
  const std::string name = describe(row.point, row.method);
  if (!row.unsupported.empty()) return suite.skip(name, row.unsupported);
  if (!row.error.empty()) return suite.break_off(name, "backend", row.error);
  if (refuted(row))
    return suite.fail(name, std::string(mlbench::name(row.check)), remark(row), figures_of(row, columns));
  if (row.samples.empty()) return suite.skip(name, "not measured");
  suite.pass(name, figures_of(row, columns));
}

// ---- comparisons ----

std::string said_of(const ComparedRow& row) {
  return fmt::format("new / base {}, p {}; median {} ms of {} before, {} ms of {} now", ratio_text(row.ratio),
                     number(row.p_value), milliseconds(row.base_median), counted(row.base_samples, "sample"),
                     milliseconds(row.new_median), counted(row.new_samples, "sample"));
}

void add_row(JUnitSuite& suite, const ComparedRow& row) {
  const std::string name = describe(row.point, row.method);
  if (!row.not_compared.empty()) return suite.skip(name, row.not_compared);
  switch (row.difference) {
    case Difference::slower:
      return suite.fail(name, "regression", fmt::format("slower: new / base {}", ratio_text(row.ratio)), said_of(row));
    case Difference::undecided:
      return suite.skip(name, fmt::format("undecided: {}; would decide, each: {}", said_of(row), decided_by(row)));
    default: suite.pass(name, fmt::format("{}: {}", mlbench::name(row.difference), said_of(row)));
  }
}

}  // namespace

std::string to_junit(const BenchRun& run) {
  JUnitDocument document("mlbench bench");
  const std::vector<FigureColumn> columns = figure_columns(run.rows);
  for (const auto& group : suites_of(run.rows)) {
    document.add_suite(group.first, [&](JUnitSuite& suite) {
      suite.property("started", run.started);
      suite.property("checked", run.checked ? "true" : "false");
      suite.property("interrupted", run.interrupted ? "true" : "false");
      for (const auto& [fact, value] : run.environment.facts) suite.property(fact, value);
      for (const std::string& warning : run.environment.warnings) suite.property("warning", warning);
      for (const BenchRow* row : group.second) add_row(suite, *row, columns);
    });
  }
  return document.text();
}

std::string to_junit(const BenchComparison& comparison) {
  JUnitDocument document("mlbench compare");
  for (const auto& group : suites_of(comparison.rows)) {
    document.add_suite(group.first, [&](JUnitSuite& suite) {
      suite.property("base", comparison.base);
      suite.property("new", comparison.next);
      suite.property("floor", percent(comparison.floor));
      suite.property("confidence", percent(comparison.confidence));
      for (const std::string& warning : comparison.warnings) suite.property("warning", warning);
      for (const ComparedRow* row : group.second) add_row(suite, *row);
    });
  }
  if (!comparison.only_base.empty() || !comparison.only_new.empty()) {
    document.add_suite("rows of one side", [&](JUnitSuite& suite) {
      for (const std::string& row : comparison.only_base) suite.skip(row, "only in base");
      for (const std::string& row : comparison.only_new) suite.skip(row, "only in new");
    });
  }
  return document.text();
}

}  // namespace mlbench::reports
