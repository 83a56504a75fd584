// Benchmark runs and comparisons for a pull request, in GitHub's Markdown.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "reports/bench_report.h"
#include "reports/bench_row.h"
#include "reports/figures.h"

namespace mlbench::reports {
namespace {

// GitHub takes comments of 65536 characters. Tables and lists end before; what they leave out is counted.
constexpr std::size_t kMostTable = 40'000, kMostList = 5'000;
constexpr std::size_t kMostCell = 300;

std::string code(const std::string& text) {
  return markdown_code(text.size() > kMostCell ? text.substr(0, kMostCell) + "..." : text);
}

// Lines up to a size, and how many more there were.
class Lines {
 public:
  explicit Lines(std::size_t most) : most_(most) {}

  void add(const std::string& line) {
    if (left_out_ > 0 || out_.size() + line.size() > most_) {
      ++left_out_;
    } else {
      out_ += line;
    }
  }
  [[nodiscard]] std::string text() const {
    return left_out_ == 0 ? out_ : fmt::format("{}\n{} more\n", out_, left_out_);
  }

 private:
  std::size_t most_, left_out_ = 0;
  std::string out_;
};

std::string table_line(const std::vector<std::string>& cells) {
  std::string out = "|";
  for (const std::string& cell : cells) out += fmt::format(" {} |", cell);
  return out + "\n";
}

std::string table_head(const std::vector<Table::Column>& columns) {
  std::string titles = "|", rule = "|";
  for (const Table::Column& column : columns) {
    titles += fmt::format(" {} |", column.title);
    rule += column.align == Align::right ? "---:|" : "---|";
  }
  return fmt::format("\n{}\n{}\n", titles, rule);
}

std::string bullets(std::string_view what, const std::vector<std::string>& texts) {
  Lines lines(kMostList);
  for (const std::string& text : texts) lines.add(fmt::format("- {}: {}\n", what, code(text)));
  return texts.empty() ? "" : "\n" + lines.text();
}

std::string common_line(const Axes& axes) {
  return axes.common().empty() ? "" : fmt::format("\n{}\n", code(axes.common()));
}

// ---- runs ----

std::string show_outcome(const BenchRow& row) {
  const std::string word = outcome(row);
  if (word == "failed" || word == "implausible" || word == "error") return fmt::format("**{}**", word);
  return word == "unchecked" ? "_unchecked_" : word;
}

std::string rows_table(const BenchRun& run, const Axes& axes) {
  if (run.rows.empty()) return "";
  const std::vector<FigureColumn> figures = figure_columns(run.rows);
  std::vector<Table::Column> columns = axes.columns();
  columns.push_back({"method", Align::left});
  for (const FigureColumn& column : figures) columns.push_back(column.head);
  columns.push_back({"check", Align::left});
  columns.push_back({"remark", Align::left});
  // What went wrong first: a table that is cut does not hide it.
  std::vector<const BenchRow*> rows;
  for (const BenchRow& row : run.rows) rows.push_back(&row);
  std::stable_partition(rows.begin(), rows.end(),
                        [](const BenchRow* row) { return refuted(*row) || !row->error.empty(); });
  Lines lines(kMostTable);
  for (const BenchRow* row : rows) {
    std::vector<std::string> cells;
    for (const std::string& cell : axes.cells(row->point)) cells.push_back(code(cell));
    cells.push_back(code(row->method));
    for (const FigureColumn& column : figures) cells.push_back(column.cell(*row));
    cells.push_back(show_outcome(*row));
    cells.push_back(code(remark(*row)));
    lines.add(table_line(cells));
  }
  return table_head(columns) + lines.text();
}

// ---- comparisons ----

int rank(const ComparedRow& row) {
  if (!row.not_compared.empty()) return 2;
  switch (row.difference) {
    case Difference::slower: return 0;
    case Difference::undecided: return 1;
    case Difference::same: return 3;
    case Difference::faster: return 4;
  }
  return 3;
}

std::string show_verdict(const ComparedRow& row) {
  if (!row.not_compared.empty()) return "not compared";
  return row.difference == Difference::slower ? "**slower**" : std::string(name(row.difference));
}

std::vector<const ComparedRow*> worst_first(const BenchComparison& comparison) {
  std::vector<const ComparedRow*> rows;
  for (const ComparedRow& row : comparison.rows) rows.push_back(&row);
  std::ranges::stable_sort(rows, [](const ComparedRow* a, const ComparedRow* b) {
    return rank(*a) != rank(*b) ? rank(*a) < rank(*b) : worse(a->ratio.value, b->ratio.value);
  });
  return rows;
}

std::string compared_table(const BenchComparison& comparison, const Axes& axes) {
  if (comparison.rows.empty()) return "";
  std::vector<Table::Column> columns = axes.columns();
  columns.push_back({"method", Align::left});
  for (const char* title : {"base ms", "new ms", "new / base"}) columns.push_back({title, Align::right});
  columns.push_back({"verdict", Align::left});
  columns.push_back({"would decide, each", Align::left});
  Lines lines(kMostTable);
  for (const ComparedRow* row : worst_first(comparison)) {
    std::vector<std::string> cells;
    for (const std::string& cell : axes.cells(row->point)) cells.push_back(code(cell));
    cells.push_back(code(row->method));
    const bool compared = row->not_compared.empty();
    cells.push_back(compared ? milliseconds(row->base_median) : "-");
    cells.push_back(compared ? milliseconds(row->new_median) : "-");
    cells.push_back(compared ? ratio_text(row->ratio) : "-");
    cells.push_back(show_verdict(*row));
    cells.push_back(compared ? decided_by(*row) : code(row->not_compared));
    lines.add(table_line(cells));
  }
  return table_head(columns) + lines.text();
}

std::string headline(const BenchComparison& comparison) {
  for (const Difference difference : {Difference::slower, Difference::undecided, Difference::faster}) {
    if (comparison.any(difference)) return std::string(name(difference));
  }
  return comparison.rows.empty() ? "nothing to compare" : "same";
}

}  // namespace

std::string to_markdown(const BenchRun& run) {
  std::vector<const BenchPoint*> points;
  for (const BenchRow& row : run.rows) points.push_back(&row.point);
  const Axes axes(points);
  std::string out = fmt::format("### mlbench bench: {}\n", counts_text(run));
  if (!run.checked) out += "\n**Unchecked**: no output was compared with the reference's.\n";
  if (run.interrupted) out += "\n**Interrupted**: what was not reached is missing.\n";
  out += common_line(axes) + rows_table(run, axes);
  return out + bullets("warning", run.environment.warnings);
}

std::string to_markdown(const BenchComparison& comparison) {
  std::vector<const BenchPoint*> points;
  for (const ComparedRow& row : comparison.rows) points.push_back(&row.point);
  const Axes axes(points);
  std::string out = fmt::format(
      "### mlbench compare: {}\n\n{}; a change of the median by {} counts, at {} confidence\n", headline(comparison),
      counts_text(comparison), percent(comparison.floor), percent(comparison.confidence));
  out += fmt::format("\nbase {}, new {}\n", code(comparison.base), code(comparison.next));
  out += common_line(axes) + compared_table(comparison, axes);
  out += bullets("only in base", comparison.only_base) + bullets("only in new", comparison.only_new);
  return out + bullets("warning", comparison.warnings);
}

}  // namespace mlbench::reports
