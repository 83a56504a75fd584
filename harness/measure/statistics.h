// What samples of times say, with nothing assumed about their distribution: they are skewed, have outliers, and follow
// each other. docs/benchmark-statistics.md has the formulas and what they were found to be worth.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/bench_results.h"

namespace mlbench::measure {

// ---- one sample ----

// Of sorted samples, number (n - 1) p from 0 on, linear in between (Hyndman and Fan 1996, definition 7). At least one
// sample.
[[nodiscard]] double quantile(std::span<const double> samples, double p);
[[nodiscard]] double median(std::span<const double> samples);
// Median of the distances to the median; of normal noise, 0.6745 of its standard deviation.
[[nodiscard]] double median_absolute_deviation(std::span<const double> samples);

// From which number of samples on an interval of the median exists: 6 for 0.95, as 2 / 2^6 < 0.05 < 2 / 2^5.
[[nodiscard]] Index samples_for_median(double confidence);
// From the k-th smallest to the k-th largest, with the largest k such that the interval holds the median of what was
// sampled with the confidence: exactly, of any distribution. Infinite on both sides where there are too few samples.
// `worth`: the number of independent samples that tell as much; see effective_samples.
[[nodiscard]] Estimate median_interval(std::span<const double> samples, double confidence);
[[nodiscard]] Estimate median_interval(std::span<const double> samples, double confidence, double worth);

// The number of samples from which on a percentile is told: 64 for p90, 662 for p99. It is the smallest n for which at
// most one sample above a limit shows, with the confidence, that at most 1 - p of all are: the chance of such luck
// where the share is 1 - p, P(Binomial(n, 1 - p) <= 1), is at most 1 - confidence. As MLPerf's early stopping.
[[nodiscard]] Index samples_for_percentile(double p, double confidence = 0.99);

// How many independent samples say as much about the median as this series, in the order of time, does: n divided by
// the factor by which its autocorrelation multiplies the variance of a mean of ranks. From 1 to n.
[[nodiscard]] double effective_samples(std::span<const double> series);

// ---- two samples ----

struct Resampling {
  double confidence = 0.95;
  std::uint64_t seed = 0;
  Index resamples = 4000;
  // Independent samples that each series is worth, where that is fewer than it has: then resamples have no more. 0:
  // all.
  double base_worth = 0.0, next_worth = 0.0;
};
// median(next) / median(base) and the percentile interval of a bootstrap. The same on every machine.
[[nodiscard]] Estimate ratio_of_medians(std::span<const double> base, std::span<const double> next,
                                        const Resampling& options);

// Two-sided p of Mann and Whitney's test that neither sample tends to larger values. Exact up to 50 samples in all
// without ties, else by the normal distribution with corrections for ties and continuity.
[[nodiscard]] double mann_whitney(std::span<const double> a, std::span<const double> b);
// Two-sided p of Wilcoxon's test that differences of pairs lie evenly around 0. Exact up to 50 without ties; zeros are
// left out.
[[nodiscard]] double signed_rank(std::span<const double> differences);
// The p that a rank test of n samples gives where they are worth a fraction of them: its normal quantile times the
// square root of that, against Student's t. p itself where fraction is 1.
[[nodiscard]] double weakened(double p, double fraction, Index freedom);

// Holm's correction: p such that comparing each with a level keeps the chance of any false alarm at that level.
[[nodiscard]] std::vector<double> holm(std::span<const double> p_values);

// ---- distributions ----

[[nodiscard]] double binomial_cdf(Index successes, Index trials, double chance);  // P(X <= successes)
[[nodiscard]] double normal_deviation(double p);                                  // z with P(|Z| >= z) = p
[[nodiscard]] double student_two_sided(double t, Index freedom);                  // P(|T| >= t)

}  // namespace mlbench::measure
