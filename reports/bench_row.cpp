#include "reports/bench_row.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include <fmt/format.h>

#include "reports/figures.h"

namespace mlbench::reports {
namespace {

// ---- axes ----

struct Axis {
  const char* title;
  Align align;
  const char* usual;  // not worth saying
  std::string (*cell)(const BenchPoint&);
};

constexpr auto kLeft = Align::left;
constexpr auto kRight = Align::right;

const std::array<Axis, 15> kAxes = {{
    {"model", kLeft, "", [](const BenchPoint& p) { return p.model; }},
    {"arch", kLeft, "", [](const BenchPoint& p) { return p.architecture; }},
    {"backend", kLeft, "", [](const BenchPoint& p) { return p.backend; }},
    {"device", kLeft, "", [](const BenchPoint& p) { return p.device; }},
    {"dtype", kLeft, "", [](const BenchPoint& p) { return p.dtype; }},
    {"threads", kRight, "0", [](const BenchPoint& p) { return fmt::to_string(p.threads); }},
    {"batch", kRight, "", [](const BenchPoint& p) { return fmt::to_string(p.batch); }},
    {"prompt", kRight, "0", [](const BenchPoint& p) { return fmt::to_string(p.prompt); }},
    {"gen", kRight, "0", [](const BenchPoint& p) { return fmt::to_string(p.gen); }},
    {"depth", kRight, "0", [](const BenchPoint& p) { return fmt::to_string(p.depth); }},
    {"page", kRight, "0", [](const BenchPoint& p) { return fmt::to_string(p.page_size); }},
    {"tp", kRight, "1", [](const BenchPoint& p) { return fmt::to_string(p.tensor_parallel); }},
    {"pp", kRight, "1", [](const BenchPoint& p) { return fmt::to_string(p.pipeline_parallel); }},
    {"apart", kLeft, "-", [](const BenchPoint& p) { return std::string(p.disaggregated ? "yes" : "-"); }},
    {"replicas", kRight, "1", [](const BenchPoint& p) { return fmt::to_string(p.replicas); }},
}};

// ---- columns of figures ----

std::string cell_of(const std::optional<double>& value, std::string (*show)(double)) {
  return value ? show(*value) : "-";
}

std::size_t timed(const BenchRow& row) {
  if (row.steps.empty()) return row.samples.size();
  std::size_t count = 0;
  for (const auto& repetition : row.steps) count += repetition.size();
  return count;
}

// Of a percentile that so few times cannot give, how many it takes.
std::string percentile(const BenchRow& row, const std::optional<double>& value, std::size_t needed) {
  if (value) return milliseconds(*value);
  return row.samples.empty() || timed(row) >= needed ? "-" : fmt::format("n<{}", needed);
}

std::string ended(const BenchRow& row) {
  if (row.samples.empty()) return "-";
  return row.stop == BenchStop::max_time ? "max time" : std::string(name(row.stop));
}

// Of all ranks' time together.
std::string share_of_ranks(const BenchRow& row, double RankTimes::*part) {
  double some = 0.0, all = 0.0;
  for (const RankTimes& rank : row.ranks) {
    some += rank.*part;
    all += rank.compute_seconds + rank.communication_seconds + rank.waiting_seconds;
  }
  return all > 0.0 ? percent(some / all) : "-";
}

const std::array<FigureColumn, 16> kFigures = {{
    {{"tokens/s", kRight},
     [](const BenchRow& r) { return r.tokens_per_second ? figure(r.tokens_per_second->value) : "-"; }},
    {{"\xc2\xb1", kRight},
     [](const BenchRow& r) { return r.tokens_per_second ? plus_minus(*r.tokens_per_second) : "-"; }},
    {{"time ms", kRight}, [](const BenchRow& r) { return r.median ? milliseconds(r.median->value) : "-"; }},
    {{"p50 ms", kRight}, [](const BenchRow& r) { return cell_of(r.p50, milliseconds); }},
    {{"p90 ms", kRight}, [](const BenchRow& r) { return percentile(r, r.p90, 64); }},
    {{"p99 ms", kRight}, [](const BenchRow& r) { return percentile(r, r.p99, 662); }},
    {{"MFU", kRight}, [](const BenchRow& r) { return cell_of(r.mfu, percent); }},
    {{"MBU", kRight}, [](const BenchRow& r) { return cell_of(r.mbu, percent); }},
    {{"J/token", kRight}, [](const BenchRow& r) { return cell_of(r.joules_per_token, figure); }},
    {{"memory", kRight},
     [](const BenchRow& r) { return r.peak_memory_bytes == 0 ? "-" : mebibytes(r.peak_memory_bytes); }},
    {{"speedup", kRight},
     [](const BenchRow& r) { return r.scaling ? fmt::format("{:.2f}", r.scaling->speedup) : "-"; }},
    {{"efficiency", kRight},
     [](const BenchRow& r) { return r.scaling ? cell_of(r.scaling->efficiency, percent) : "-"; }},
    {{"exchange", kRight}, [](const BenchRow& r) { return share_of_ranks(r, &RankTimes::communication_seconds); }},
    {{"waiting", kRight}, [](const BenchRow& r) { return share_of_ranks(r, &RankTimes::waiting_seconds); }},
    {{"samples", kRight}, [](const BenchRow& r) { return r.samples.empty() ? "-" : fmt::to_string(r.samples.size()); }},
    {{"ended by", kLeft}, ended},
}};

// ---- counts ----

// "1 failed, 3 passed", in the order of the words given; a word that is not among them is left out.
template <class Rows, class Word, std::size_t n>
std::string counts(const Rows& rows, const std::array<std::string_view, n>& words, const Word& word_of) {
  std::string out;
  for (const std::string_view word : words) {
    const auto count = std::ranges::count_if(rows, [&](const auto& row) { return word_of(row) == word; });
    if (count > 0) out += fmt::format("{}{} {}", out.empty() ? ": " : ", ", count, word);
  }
  return counted(static_cast<long long>(rows.size()), "row") + out;
}

}  // namespace

bool refuted(const BenchRow& row) { return row.check == BenchCheck::failed || row.check == BenchCheck::implausible; }

bool presentable(const BenchRow& row) {
  return !row.samples.empty() && row.error.empty() && row.unsupported.empty() && !refuted(row);
}

std::string outcome(const BenchRow& row) {
  if (!row.unsupported.empty()) return "unsupported";
  if (!row.error.empty()) return "error";
  return row.samples.empty() && !refuted(row) ? "not measured" : std::string(name(row.check));
}

std::string remark(const BenchRow& row) {
  if (!row.unsupported.empty()) return row.unsupported;
  if (!row.error.empty()) return row.error;
  if (refuted(row)) {
    return row.check_text.empty() ? fmt::format("error / limit {}", number(row.check_ratio)) : row.check_text;
  }
  return row.steady || row.samples.empty() ? "" : "the warm-up ended before its times had settled";
}

double tokens_of(const BenchRow& row) {
  const BenchPoint& p = row.point;
  return static_cast<double>(row.method == "pg" ? p.tokens(false) + p.tokens(true) : p.tokens(row.decode));
}

std::string series_name(const BenchPoint& p, const std::string& method) {
  std::string out = fmt::format("{}/{}", p.model, p.backend);
  if (!p.device.empty() && p.device != p.backend) out += fmt::format("/{}", p.device);
  out += fmt::format("/{}/threads:{}/batch:{}/prompt:{}", p.dtype, p.threads, p.batch, p.prompt);
  if (p.gen > 0) out += fmt::format("/gen:{}", p.gen);
  if (p.depth > 0) out += fmt::format("/depth:{}", p.depth);
  if (p.page_size > 0) out += fmt::format("/page:{}", p.page_size);
  if (p.tensor_parallel > 1) out += fmt::format("/tp:{}", p.tensor_parallel);
  if (p.pipeline_parallel > 1) out += fmt::format("/pp:{}", p.pipeline_parallel);
  if (p.disaggregated) out += "/disagg";
  if (p.replicas > 1) out += fmt::format("/replicas:{}", p.replicas);
  return fmt::format("{}/{}", out, method);
}

Moments moments_of(const std::vector<double>& samples) {
  if (samples.empty()) return {};
  std::vector<double> sorted = samples;
  std::ranges::sort(sorted);
  const std::size_t n = sorted.size();
  Moments m;
  m.median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0;
  for (const double x : sorted) m.mean += x / static_cast<double>(n);
  double squares = 0.0;  // around the mean, not a difference of large sums
  for (const double x : sorted) squares += (x - m.mean) * (x - m.mean);
  if (n > 1) m.deviation = std::sqrt(squares / static_cast<double>(n - 1));
  return m;
}

std::string figure(double value) {
  if (!std::isfinite(value)) return "not finite";
  return std::abs(value) >= 1000.0 && std::abs(value) < 1e15 ? fmt::format("{:.0f}", value)
                                                             : fmt::format("{:.4g}", value);
}

std::string exact_figure(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : std::isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}

std::string percent(double share) {
  return std::isfinite(share) ? fmt::format("{:.3g}%", 100.0 * share) : "not finite";
}

std::string scaled(double value, const std::string& unit) {
  constexpr std::array<const char*, 6> kPrefixes = {"", "k", "M", "G", "T", "P"};
  std::size_t at = 0;
  for (; value >= 1000.0 && at + 1 < kPrefixes.size(); ++at) value /= 1000.0;
  return fmt::format("{} {}{}", number(value), kPrefixes[at], unit);
}

std::string mebibytes(std::uint64_t bytes) {
  return fmt::format("{} MiB", figure(std::ceil(static_cast<double>(bytes) / 0x1p20)));
}

std::string milliseconds(double seconds) { return figure(1e3 * seconds); }

std::string plus_minus(const Estimate& e) {
  const double side = std::max(e.high - e.value, e.value - e.low);
  return e.value > 0.0 && std::isfinite(side) ? fmt::format("{:.2g}%", 100.0 * side / e.value) : "?";
}

Axes::Axes(const std::vector<const BenchPoint*>& points) {
  for (const Axis& axis : kAxes) {
    const bool varies = std::ranges::any_of(
        points, [&](const BenchPoint* point) { return axis.cell(*point) != axis.cell(*points.front()); });
    if (varies) {
      columns_.push_back({axis.title, axis.align});
      shown_.push_back(axis.cell);
    } else if (!points.empty() && !axis.cell(*points.front()).empty() && axis.cell(*points.front()) != axis.usual) {
      common_ += fmt::format("{}{} {}", common_.empty() ? "" : ", ", axis.title, axis.cell(*points.front()));
    }
  }
}

std::vector<std::string> Axes::cells(const BenchPoint& point) const {
  std::vector<std::string> out;
  for (const auto cell : shown_) out.push_back(cell(point));
  return out;
}

std::vector<FigureColumn> figure_columns(const std::vector<BenchRow>& rows) {
  std::vector<FigureColumn> out;
  std::ranges::copy_if(kFigures, std::back_inserter(out), [&](const FigureColumn& column) {
    return std::ranges::any_of(rows, [&](const BenchRow& row) { return column.cell(row) != "-"; });
  });
  return out;
}

std::string counts_text(const BenchRun& run) {
  constexpr std::array<std::string_view, 8> kWords = {"failed",  "implausible", "error",        "unchecked",
                                                      "sampled", "passed",      "not measured", "unsupported"};
  return counts(run.rows, kWords, outcome);
}

std::string counts_text(const BenchComparison& comparison) {
  constexpr std::array<std::string_view, 5> kWords = {"slower", "undecided", "not compared", "same", "faster"};
  return counts(comparison.rows, kWords, [](const ComparedRow& row) {
    return row.not_compared.empty() ? name(row.difference) : std::string_view("not compared");
  });
}

std::string ratio_text(const Estimate& ratio) {
  return fmt::format("{:.4g} ({:.4g} to {:.4g})", ratio.value, ratio.low, ratio.high);
}

std::string decided_by(const ComparedRow& row) {
  if (!row.not_compared.empty() || row.difference != Difference::undecided) return "-";
  return row.samples_to_decide > 0 ? fmt::format("{} samples", row.samples_to_decide) : "no number of samples";
}

}  // namespace mlbench::reports
