// What all renderings of benchmarks share: the names of rows, their figures, and the columns that a table needs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/bench_results.h"
#include "reports/table.h"

namespace mlbench::reports {

// ---- rows ----

// A right computation in a believable time is what makes times a throughput.
[[nodiscard]] bool refuted(const BenchRow& row);      // its check failed, or its times are implausible
[[nodiscard]] bool presentable(const BenchRow& row);  // has samples that nothing refutes

// What came of it, in a word: "unsupported", "error", "not measured", or its check's outcome.
[[nodiscard]] std::string outcome(const BenchRow& row);
// What is to be said of it in a sentence, "" for nothing: the reason for no samples, what strays, a restless warm-up.
[[nodiscard]] std::string remark(const BenchRow& row);

// Tokens of one repetition, of all sequences: those of the prompt, those made, or both where the method is
// llama-bench's "pg".
[[nodiscard]] double tokens_of(const BenchRow& row);

// "llama-small/cpu/f32/threads:2/batch:1/prompt:64/gen:16/batch_decode": what other tools tell series apart by.
[[nodiscard]] std::string series_name(const BenchPoint& point, const std::string& method);

// Plain statistics for formats that ask for them; zeros without samples.
struct Moments {
  double median = 0.0, mean = 0.0;
  double deviation = 0.0;  // with n - 1; 0 of one sample
};
[[nodiscard]] Moments moments_of(const std::vector<double>& samples);

// ---- figures ----

[[nodiscard]] std::string figure(double value);                           // "1235", "12.35", "0.001235"
[[nodiscard]] std::string exact_figure(double value);                     // as many digits as give it back
[[nodiscard]] std::string percent(double share);                          // "45.1%"
[[nodiscard]] std::string scaled(double value, const std::string& unit);  // "12.3 GB/s"
[[nodiscard]] std::string mebibytes(std::uint64_t bytes);                 // "312 MiB"
[[nodiscard]] std::string milliseconds(double seconds);                   // "51.2", no unit
[[nodiscard]] std::string plus_minus(const Estimate& estimate);           // "0.8%", of the larger side

// ---- columns ----

// The columns that tell points apart, and what they have in common, which is said once.
class Axes {
 public:
  explicit Axes(const std::vector<const BenchPoint*>& points);

  [[nodiscard]] const std::vector<Table::Column>& columns() const { return columns_; }
  [[nodiscard]] std::vector<std::string> cells(const BenchPoint& point) const;
  // "model llama-small, backend cpu, dtype f32, threads 2"; what is at its default is left out.
  [[nodiscard]] const std::string& common() const { return common_; }

 private:
  std::vector<Table::Column> columns_;
  std::vector<std::string (*)(const BenchPoint&)> shown_;
  std::string common_;
};

// A column of figures; "-" where a row has none.
struct FigureColumn {
  Table::Column head;
  std::string (*cell)(const BenchRow&);
};
// Those of which at least one row has something.
[[nodiscard]] std::vector<FigureColumn> figure_columns(const std::vector<BenchRow>& rows);

// "12 rows: 1 failed, 10 passed, 1 unsupported"
[[nodiscard]] std::string counts_text(const BenchRun& run);
// "12 rows: 1 slower, 9 same, 2 undecided"
[[nodiscard]] std::string counts_text(const BenchComparison& comparison);

// "1.052 (1.031 to 1.070)"
[[nodiscard]] std::string ratio_text(const Estimate& ratio);
// "40 samples", "no number of samples", "-" where nothing is undecided.
[[nodiscard]] std::string decided_by(const ComparedRow& row);

}  // namespace mlbench::reports
