// Benchmark runs, their comparison and what a device reaches, as text for a terminal.
#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "core/error.h"
#include "reports/bench_report.h"
#include "reports/bench_row.h"
#include "reports/figures.h"

namespace mlbench::reports {
namespace {

constexpr int kRed = 31, kGreen = 32, kYellow = 33;

std::string coloured(std::string_view word, int code, bool color) {
  return color ? fmt::format("\x1b[{}m{}\x1b[0m", code, word) : std::string(word);
}

std::string show_outcome(const BenchRow& row, bool color) {
  const std::string word = outcome(row);
  if (word == "failed") return coloured("FAILED", kRed, color);
  if (word == "implausible") return coloured("IMPLAUSIBLE", kRed, color);
  if (word == "error") return coloured("ERROR", kRed, color);
  if (word == "unchecked") return coloured("UNCHECKED", kYellow, color);
  return coloured(word, word == "passed" || word == "sampled" ? kGreen : kYellow, color);
}

std::string show(const ComparedRow& row, bool color) {
  if (!row.not_compared.empty()) return coloured("not compared", kYellow, color);
  switch (row.difference) {
    case Difference::same: return "same";
    case Difference::faster: return coloured("faster", kGreen, color);
    case Difference::slower: return coloured("SLOWER", kRed, color);
    case Difference::undecided: return coloured("undecided", kYellow, color);
  }
  return "";
}

std::string lines(std::string_view before, const std::vector<std::string>& texts, int code, bool color) {
  std::string out;
  for (const std::string& text : texts) out += fmt::format("{}: {}\n", coloured(before, code, color), one_line(text));
  return out;
}

// ---- sections of a run, each empty where there is nothing ----

std::string settings(const BenchRun& run) {
  std::string out;
  auto to = std::back_inserter(out);
  if (run.precision > 0.0) {
    fmt::format_to(to, "median to within {} at {} confidence, or {} s for each row\n", percent(run.precision),
                   percent(run.confidence), figure(run.max_time));
  }
  if (run.shards > 1) fmt::format_to(to, "shard {} of {}\n", run.shard, run.shards);
  return out;
}

std::string rows_table(const BenchRun& run, const Axes& axes, bool color) {
  if (run.rows.empty()) return "";
  const std::vector<FigureColumn> figures = figure_columns(run.rows);
  const bool remarks = std::ranges::any_of(run.rows, [](const BenchRow& row) { return !remark(row).empty(); });
  std::vector<Table::Column> columns = axes.columns();
  columns.push_back({"method", Align::left});
  for (const FigureColumn& column : figures) columns.push_back(column.head);
  columns.push_back({"check", Align::left});
  if (remarks) columns.push_back({"remark", Align::left});
  Table table(columns);
  for (const BenchRow& row : run.rows) {
    std::vector<std::string> cells;
    for (const std::string& cell : axes.cells(row.point)) cells.push_back(one_line(cell));
    cells.push_back(one_line(row.method));
    for (const FigureColumn& column : figures) cells.push_back(column.cell(row));
    cells.push_back(show_outcome(row, color));
    if (remarks) cells.push_back(one_line(remark(row)));
    table.add(std::move(cells));
  }
  return table.text() + "\n";
}

std::string probe_table(std::span<const ProbeResult> probes) {
  const auto rate = [](double value, const char* unit) {
    return value > 0.0 ? scaled(value, unit) : std::string("not measured");
  };
  Table table({{"backend", Align::left},
               {"device", Align::left},
               {"dtype", Align::left},
               {"threads", Align::right},
               {"reads", Align::right},
               {"products", Align::right}});
  for (const ProbeResult& p : probes) {
    table.add({one_line(p.backend), one_line(p.device), one_line(p.dtype), fmt::to_string(p.threads),
               rate(p.read_bytes_per_second, "B/s"), rate(p.flops_per_second, "FLOP/s")});
  }
  return table.text();
}

std::string probes(const BenchRun& run) {
  return run.probes.empty() ? "" : "what the device reaches, for MFU and MBU\n" + probe_table(run.probes) + "\n";
}

// What each rank of each split row did.
std::string ranks_table(const BenchRun& run, const Axes& axes) {
  std::vector<Table::Column> columns = axes.columns();
  columns.push_back({"method", Align::left});
  for (const char* title : {"rank", "compute", "exchange", "transfer", "waiting", "sent", "memory"})
    columns.push_back({title, Align::right});
  columns.push_back({"host", Align::left});
  Table table(columns);
  bool any = false;
  for (const BenchRow& row : run.rows) {
    for (const RankTimes& r : row.ranks) {
      any = true;
      std::vector<std::string> cells;
      for (const std::string& cell : axes.cells(row.point)) cells.push_back(one_line(cell));
      const double all = r.compute_seconds + r.communication_seconds + r.waiting_seconds;
      const auto share = [&](double part) { return all > 0.0 ? percent(part / all) : std::string("-"); };
      for (std::string cell : {std::string(one_line(row.method)), fmt::to_string(r.rank), share(r.compute_seconds),
                               share(r.communication_seconds), share(r.transfer_seconds), share(r.waiting_seconds),
                               scaled(static_cast<double>(r.sent_bytes + r.reduced_bytes + r.transferred_bytes), "B"),
                               mebibytes(r.peak_memory_bytes), one_line(r.host) + (r.pinned ? "" : ", not pinned")})
        cells.push_back(std::move(cell));
      table.add(std::move(cells));
    }
  }
  return any ? "where each rank's time went\n" + table.text() + "\n" : "";
}

std::string ending(const BenchRun& run, bool color) {
  std::string out;
  if (!run.checked) out += coloured("UNCHECKED", kYellow, color) + ": no output was compared with the reference's\n";
  if (run.interrupted) out += coloured("INTERRUPTED", kYellow, color) + ": what was not reached is missing\n";
  return out;
}

// ---- comparison ----

std::string compared_table(const BenchComparison& comparison, bool color) {
  if (comparison.rows.empty()) return "";
  std::vector<const BenchPoint*> points;
  for (const ComparedRow& row : comparison.rows) points.push_back(&row.point);
  const Axes axes(points);
  std::vector<Table::Column> columns = axes.columns();
  columns.push_back({"method", Align::left});
  for (const char* title : {"base ms", "n", "new ms", "n", "new / base", "p"}) columns.push_back({title, Align::right});
  columns.push_back({"verdict", Align::left});
  columns.push_back({"would decide, each", Align::left});
  Table table(columns);
  for (const ComparedRow& row : comparison.rows) {
    std::vector<std::string> cells;
    for (const std::string& cell : axes.cells(row.point)) cells.push_back(one_line(cell));
    cells.push_back(one_line(row.method));
    if (row.not_compared.empty()) {
      for (std::string cell :
           {milliseconds(row.base_median), fmt::to_string(row.base_samples), milliseconds(row.new_median),
            fmt::to_string(row.new_samples), ratio_text(row.ratio), number(row.p_value)}) {
        cells.push_back(std::move(cell));
      }
    } else {
      cells.insert(cells.end(), 6, "-");
    }
    cells.push_back(show(row, color));
    cells.push_back(row.not_compared.empty() ? decided_by(row) : one_line(row.not_compared));
    table.add(std::move(cells));
  }
  return fmt::format("{}{}{}\n", one_line(axes.common()), axes.common().empty() ? "" : "\n", table.text());
}

}  // namespace

std::string to_text(const BenchRun& run, bool color) {
  std::vector<const BenchPoint*> points;
  for (const BenchRow& row : run.rows) points.push_back(&row.point);
  const Axes axes(points);
  std::string out = one_line(axes.common());
  if (!out.empty()) out += "\n";
  out += settings(run);
  if (!out.empty()) out += "\n";
  out += rows_table(run, axes, color) + ranks_table(run, axes) + probes(run) +
         lines("warning", run.environment.warnings, kYellow, color);
  return out + ending(run, color) + counts_text(run) + "\n";
}

std::string to_text(const BenchComparison& comparison, bool color) {
  std::string out = fmt::format("base {}\nnew  {}\na change of the median by {} counts, at {} confidence\n\n",
                                one_line(comparison.base), one_line(comparison.next), percent(comparison.floor),
                                percent(comparison.confidence));
  out += compared_table(comparison, color);
  out += lines("only in base", comparison.only_base, kYellow, color);
  out += lines("only in new", comparison.only_new, kYellow, color);
  out += lines("warning", comparison.warnings, kYellow, color);
  return out + counts_text(comparison) + "\n";
}

std::string to_text(std::span<const ProbeResult> probes) { return probe_table(probes); }

}  // namespace mlbench::reports
