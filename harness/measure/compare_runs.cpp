#include "harness/measure/compare_runs.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "harness/measure/match_runs.h"
#include "harness/measure/statistics.h"

namespace mlbench::measure {
namespace {

using Times = std::vector<double>;

constexpr std::size_t kRunsOfASet = 3;
constexpr Index kFewest = 3;            // units of a side below which an interval would be a pretence
constexpr double kTinySquare = 1e-12;   // of a relative width: that of a millionth
constexpr double kTooMany = 1e6;        // samples that nobody takes
constexpr Index kAsNormal = 1'000'000;  // degrees of freedom

// ---- how rows are compared ----

// What is known of a row before it is judged.
struct Evidence {
  Index base_units = 0, next_units = 0;
  double base_median = 0.0, next_median = 0.0;
  Estimate ratio;
  double p = 1.0;
  double wander = 0.0;   // of a side within itself, as a difference of logarithms
  double worth = 1.0;    // of a unit, in independent units
  double between = 0.0;  // the part of the half-width that more samples do not shrink
  bool pairs = false;
};

Times pooled(const Measured& measured) {
  Times out;
  for (const BenchRow* row : measured.rows) out.insert(out.end(), row->samples.begin(), row->samples.end());
  return out;
}

Times medians(const Measured& measured) {
  Times out;
  for (const BenchRow* row : measured.rows) out.push_back(median(row->samples));
  return out;
}

Times logs(Times times) {
  for (double& t : times) t = std::log(t);
  return times;
}

// How far the parts of a series differ: halves, thirds or fifths, so that each has at least 3 samples. A step or a
// drift within a run may as well have happened between two, and no autocorrelation tells that from one step.
double wander(const Times& log_times) {
  const std::size_t n = log_times.size(), parts = n >= 25 ? 5 : n >= 9 ? 3 : 2;
  if (n < 2 * parts) return 0.0;
  double least = 0.0, most = 0.0;
  for (std::size_t i = 0; i < parts; ++i) {
    const std::size_t first = i * n / parts, last = (i + 1) * n / parts;
    const double middle = median(std::span(log_times).subspan(first, last - first));
    least = i == 0 ? middle : std::min(least, middle);
    most = i == 0 ? middle : std::max(most, middle);
  }
  return most - least;
}

// Runs of one build differ by more than their repetitions say; where it is known by how much, that is added.
void add_between_runs(Evidence& e, const CompareOptions& options) {
  const double deviation = std::sqrt(2.0) * options.between_runs, z = normal_deviation(1.0 - options.confidence);
  if (deviation == 0.0) return;
  e.between = z * deviation;
  const double up = std::log(e.ratio.high / e.ratio.value), down = std::log(e.ratio.value / e.ratio.low);
  e.ratio.high = e.ratio.value * std::exp(std::hypot(up, e.between));
  e.ratio.low = e.ratio.value * std::exp(-std::hypot(down, e.between));
  const double error = std::hypot((up + down) / (2.0 * z), deviation);
  e.p = std::max(e.p, student_two_sided(std::fabs(std::log(e.ratio.value)) / error, kAsNormal));
}

Evidence of_series(const Times& base, const Times& next, const Resampling& resampling, const CompareOptions& options) {
  const auto nb = static_cast<double>(base.size()), nn = static_cast<double>(next.size());
  Resampling worth = resampling;
  worth.base_worth = effective_samples(base);
  worth.next_worth = effective_samples(next);
  Evidence e;
  e.ratio = ratio_of_medians(base, next, worth);
  // The variance of the test's statistic goes with 1/n + 1/m.
  e.worth = (1.0 / nb + 1.0 / nn) / (1.0 / worth.base_worth + 1.0 / worth.next_worth);
  const auto freedom = static_cast<Index>(worth.base_worth + worth.next_worth) - 2;
  e.p = weakened(mann_whitney(base, next), e.worth, std::max(freedom, Index{1}));
  e.wander = std::hypot(wander(logs(base)), wander(logs(next)));
  add_between_runs(e, options);
  return e;
}

Evidence of_sets(const Times& base, const Times& next, const Resampling& resampling) {
  Evidence e;
  e.ratio = ratio_of_medians(base, next, resampling);
  e.p = mann_whitney(base, next);
  return e;
}

// log(next / base) of neighbours, run by run: what hits both of them cancels.
std::vector<Times> log_ratios(const Measured& base, const Measured& next) {
  std::vector<Times> out;
  for (std::size_t r = 0; r < std::min(base.rows.size(), next.rows.size()); ++r) {
    const Times &b = base.rows[r]->samples, &n = next.rows[r]->samples;
    Times& of_run = out.emplace_back();
    for (std::size_t i = 0; i < std::min(b.size(), n.size()); ++i) of_run.push_back(std::log(n[i] / b[i]));
  }
  return out;
}

// Pairs of one run or two are neighbours in time. Of three runs or more a run is a pair: what each of its two processes
// keeps for itself, such as where its memory lies, no repetition shows.
Evidence of_pairs(const std::vector<Times>& runs, const CompareOptions& options) {
  const bool sets = runs.size() >= kRunsOfASet;
  Times ratios;
  for (const Times& run : runs) {
    if (sets) {
      ratios.push_back(median(run));
    } else {
      ratios.insert(ratios.end(), run.begin(), run.end());
    }
  }
  const double worth = sets ? static_cast<double>(ratios.size()) : effective_samples(ratios);
  const Estimate middle = median_interval(ratios, options.confidence, worth);
  Evidence e;
  e.base_units = e.next_units = static_cast<Index>(ratios.size());
  e.ratio = {std::exp(middle.value), std::exp(middle.low), std::exp(middle.high)};
  e.worth = worth / static_cast<double>(ratios.size());
  e.p = weakened(signed_rank(ratios), e.worth, std::max(static_cast<Index>(worth) - 1, Index{1}));
  e.pairs = true;
  return e;
}

Evidence evidence(const Measured& base, const Measured& next, const CompareOptions& options) {
  const std::uint64_t seed = fnv1a(describe(base.point, base.method), scattered(options.seed));
  const Resampling resampling{.confidence = options.confidence, .seed = seed};
  const bool sets = std::min(base.rows.size(), next.rows.size()) >= kRunsOfASet;
  const Times b = sets && !options.paired ? medians(base) : pooled(base);
  const Times n = sets && !options.paired ? medians(next) : pooled(next);
  Evidence e;
  if (options.paired) {
    e = of_pairs(log_ratios(base, next), options);
  } else {
    e = sets ? of_sets(b, n, resampling) : of_series(b, n, resampling, options);
    e.base_units = static_cast<Index>(b.size());
    e.next_units = static_cast<Index>(n.size());
  }
  e.base_median = median(b);
  e.next_median = median(n);
  return e;
}

// ---- what follows ----

// Three conditions for a difference. That the whole interval lies beyond the floor says "by more than does not matter"
// with the interval's confidence; asking only that the estimate does, and that the interval excludes 1, would find 3%
// more often, and would on real machines call every small shift between two runs a regression. The corrected p is
// needed because 1 in 40 intervals lies too high by chance, and there are many rows. And a side whose own parts differ
// as much has shown that such a difference needs no change of the program.
Difference judged(const Evidence& e, double p, const CompareOptions& options) {
  if (std::min(e.base_units, e.next_units) < kFewest) return Difference::undecided;
  const Estimate& r = e.ratio;
  if (r.low >= 1.0 - options.floor && r.high <= 1.0 + options.floor) return Difference::same;
  if (p > options.family_error || std::fabs(std::log(r.value)) <= e.wander) return Difference::undecided;
  if (r.low > 1.0 + options.floor) return Difference::slower;
  if (r.high < 1.0 - options.floor) return Difference::faster;
  return Difference::undecided;
}

// With n units a side the p of ranks cannot be below 2 / C(2n, n), of n pairs 2 / 2^n.
double fewest_for(double level, bool pairs) {
  double n = 1.0, p = 1.0;
  while (p > level) {
    n += 1.0;
    p *= pairs ? 0.5 : n / (2.0 * (2.0 * n - 1.0));
  }
  return n;
}

// Widths, wandering by chance and the quantile of p all go with the square root of the number of samples. What is asked
// for is the factor by which the worst of them must shrink for the ratio that was found to be decided.
Index samples_to_decide(const Evidence& e, double rows, const CompareOptions& options) {
  const double units = 2.0 / (1.0 / static_cast<double>(e.base_units) + 1.0 / static_cast<double>(e.next_units));
  const double at = std::log(e.ratio.value), top = std::log1p(options.floor), bottom = std::log1p(-options.floor);
  const bool differs = at > top || at < bottom;
  double factor = 1.0;
  const auto must_fit = [&](double half_width, double room) {
    const double square = room * std::fabs(room) - e.between * e.between;
    factor = std::max(factor, (half_width * half_width - e.between * e.between) / std::max(square, kTinySquare));
  };
  auto least = static_cast<double>(kFewest);
  if (!std::isfinite(e.ratio.high)) {
    least = static_cast<double>(samples_for_median(options.confidence)) / e.worth;
  } else {
    const double up = std::log(e.ratio.high) - at, down = at - std::log(e.ratio.low);
    if (at > bottom) must_fit(down, at > top ? at - top : at - bottom);
    if (at < top) must_fit(up, at < bottom ? bottom - at : top - at);
  }
  if (differs) {
    const double level = options.family_error / rows, z = normal_deviation(std::min(e.p, 0.99));
    factor = std::max({factor, std::pow(normal_deviation(level) / z, 2), std::pow(e.wander / at, 2)});
    least = std::max(least, fewest_for(level, e.pairs));
  }
  const double wanted = std::max({units * factor, least, units + 1.0});
  return wanted < kTooMany ? static_cast<Index>(std::ceil(wanted)) : 0;
}

void judge(std::vector<ComparedRow>& rows, const std::vector<std::optional<Evidence>>& evidence,
           const CompareOptions& options) {
  std::vector<double> p;
  for (const std::optional<Evidence>& e : evidence) {
    if (e) p.push_back(e->p);
  }
  const std::vector<double> corrected = holm(p);
  std::size_t at = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!evidence[i]) continue;
    const Evidence& e = *evidence[i];
    ComparedRow& row = rows[i];
    row.base_samples = e.base_units;
    row.new_samples = e.next_units;
    row.base_median = e.base_median;
    row.new_median = e.next_median;
    row.ratio = e.ratio;
    row.p_value = corrected[at++];
    row.difference = judged(e, row.p_value, options);
    if (row.difference == Difference::undecided)
      row.samples_to_decide = samples_to_decide(e, static_cast<double>(p.size()), options);
  }
}

// ---- warnings ----

class Warnings {
 public:
  explicit Warnings(BenchComparison& comparison) : comparison_(comparison) {}

  void look_at(const Pair& pair, const CompareOptions& options) {
    const auto either = [&](const auto& is) {
      return std::ranges::any_of(pair.base->rows, is) || std::ranges::any_of(pair.next->rows, is);
    };
    unchecked_ += either([](const BenchRow* row) { return row->check == BenchCheck::unchecked; }) ? 1 : 0;
    unsteady_ += either([](const BenchRow* row) { return !row->steady; }) ? 1 : 0;
    unpaired_ += options.paired && pooled(*pair.base).size() != pooled(*pair.next).size() ? 1 : 0;
    if (!pair.differs.empty()) add(fmt::format("compared although the {}", pair.differs));
  }
  void conclude() {
    if (unchecked_ > 0) add(fmt::format("rows compared whose outputs were not checked: {}", unchecked_));
    if (unsteady_ > 0) add(fmt::format("rows compared whose warm-up had not settled: {}", unsteady_));
    if (unpaired_ > 0) add(fmt::format("rows compared where one side has more repetitions, left out: {}", unpaired_));
  }
  void add(const std::string& text) {
    std::vector<std::string>& all = comparison_.warnings;
    if (std::ranges::find(all, text) == all.end()) all.push_back(text);
  }

 private:
  BenchComparison& comparison_;
  Index unchecked_ = 0, unsteady_ = 0, unpaired_ = 0;
};

void require(bool holds, const std::string& message) {
  if (!holds) throw request_error("usage", message);
}

void require_sound(std::span<const BenchRun> base, std::span<const BenchRun> next, const CompareOptions& o) {
  const auto share = [](double x) { return x > 0.0 && x < 1.0; };
  require(!base.empty() && !next.empty(), "compare: expected at least one run of each side");
  require(share(o.confidence), fmt::format("confidence {}: expected a number between 0 and 1", o.confidence));
  require(o.floor == 0.0 || share(o.floor), fmt::format("floor {}: expected 0 or more, below 1", o.floor));
  require(share(o.family_error), fmt::format("error {}: expected a number between 0 and 1", o.family_error));
  require(o.between_runs >= 0.0, fmt::format("between-runs {}: expected a number, not below 0", o.between_runs));
  require(!o.paired || base.size() == next.size(),
          fmt::format("paired: expected as many runs of one side as of the other, got {} and {}", base.size(),
                      next.size()));
}

}  // namespace

BenchComparison compare_runs(std::span<const BenchRun> base, std::span<const BenchRun> next,
                             const CompareOptions& options) {
  require_sound(base, next, options);
  BenchComparison out;
  out.floor = options.floor;
  out.confidence = options.confidence;
  const std::vector<Measured> before = measured_in(base), after = measured_in(next);
  std::vector<Pair> pairs = matched(before, after);
  out.only_base = left_over(before, pairs, &Pair::base);
  out.only_new = left_over(after, pairs, &Pair::next);

  const std::string elsewhere = surroundings_differ(base, next);
  Warnings warnings(out);
  std::vector<std::optional<Evidence>> found;
  for (Pair& pair : pairs) {
    if (pair.differs.empty()) pair.differs = elsewhere;
    ComparedRow row{.point = pair.base->point, .method = pair.base->method};
    row.not_compared = unfit("base", *pair.base);
    if (row.not_compared.empty()) row.not_compared = unfit("new", *pair.next);
    if (row.not_compared.empty() && !options.force) row.not_compared = pair.differs;
    found.emplace_back();
    if (row.not_compared.empty()) {
      found.back() = evidence(*pair.base, *pair.next, options);
      warnings.look_at(pair, options);
    }
    out.rows.push_back(std::move(row));
  }
  warnings.conclude();
  judge(out.rows, found, options);
  return out;
}

}  // namespace mlbench::measure
