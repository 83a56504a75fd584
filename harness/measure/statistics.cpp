#include "harness/measure/statistics.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "core/hash.h"

namespace mlbench::measure {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();
// Up to here tests of ranks are counted out; all counts stay below 2^53, exact in a double.
constexpr std::size_t kExact = 50;

std::vector<double> sorted(std::span<const double> samples) {
  std::vector<double> out(samples.begin(), samples.end());
  std::ranges::sort(out);
  return out;
}

double quantile_of_sorted(const std::vector<double>& sorted, double p) {
  assert(!sorted.empty());
  const double at = p * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], at - std::floor(at));
}

// Largest k such that fewer than k of n samples on one side of the median is as unlikely as asked for; 0: none.
Index rank_below_median(Index n, double confidence) {
  Index low = 0, high = n / 2;
  while (low < high) {
    const Index k = (low + high + 1) / 2;
    if (binomial_cdf(k - 1, n, 0.5) <= (1.0 - confidence) / 2.0) {
      low = k;
    } else {
      high = k - 1;
    }
  }
  return low;
}

struct Ranks {
  std::vector<double> of;  // from 1; equal values share the mean of theirs
  double ties = 0.0;       // sum of t^3 - t over groups of t equal values
};

Ranks ranks(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) { return values[i]; });
  Ranks out{std::vector<double>(values.size()), 0.0};
  for (std::size_t first = 0, last = 0; first < order.size(); first = last) {
    while (last < order.size() && values[order[last]] == values[order[first]]) ++last;
    for (std::size_t i = first; i < last; ++i) out.of[order[i]] = static_cast<double>(first + 1 + last) / 2.0;
    const auto t = static_cast<double>(last - first);
    out.ties += t * t * t - t;
  }
  return out;
}

double two_sided_normal(double z) { return std::erfc(std::max(z, 0.0) / std::numbers::sqrt2); }

// Share of all subsets (of `chosen` elements; any number where it is 0) of {1 .. n} whose sum is at most `limit`.
double share_of_subsets(std::size_t n, std::size_t chosen, double limit) {
  const std::size_t sizes = chosen == 0 ? 0 : chosen, sums = n * (n + 1) / 2 + 1;
  // ways[c][s]: subsets of c elements (all sizes in one where they do not matter) with sum s
  std::vector<std::vector<double>> ways(sizes + 1, std::vector<double>(sums));
  ways[0][0] = 1.0;
  for (std::size_t element = 1; element <= n; ++element) {
    for (std::size_t c = sizes + 1; c-- > 0;) {
      const std::size_t into = chosen == 0 ? 0 : c + 1;
      if (into > sizes) continue;
      for (std::size_t s = sums - 1; s + 1 > element; --s) ways[into][s] += ways[c][s - element];
    }
  }
  double all = 0.0, within = 0.0;
  for (std::size_t s = 0; s < sums; ++s) {
    all += ways[sizes][s];
    if (static_cast<double>(s) <= limit) within += ways[sizes][s];
  }
  return within / all;
}

// Draws whose only use is their median.
class MedianOfResample {
 public:
  MedianOfResample(std::span<const double> samples, double worth) : sorted_(sorted(samples)), count_(samples.size()) {
    const auto whole = static_cast<std::size_t>(std::max(worth, 1.0));
    draws_ = worth > 0.0 ? std::min(whole, sorted_.size()) : sorted_.size();
  }

  [[nodiscard]] std::size_t draws() const { return draws_; }

  double next(std::uint64_t seed, std::uint64_t& place) {
    std::ranges::fill(count_, 0U);
    for (std::size_t i = 0; i < draws_; ++i) {
      const std::uint64_t bits = scattered(seed, place++) >> 32U;
      ++count_[static_cast<std::size_t>((bits * sorted_.size()) >> 32U)];
    }
    return (smallest((draws_ + 1) / 2) + smallest(draws_ / 2 + 1)) / 2.0;
  }

 private:
  // The k-th smallest of those drawn, k from 1.
  [[nodiscard]] double smallest(std::size_t k) const {
    std::size_t at = 0;
    for (std::size_t seen = count_[0]; seen < k; seen += count_[at]) ++at;
    return sorted_[at];
  }

  std::vector<double> sorted_;
  std::vector<std::uint32_t> count_;  // how often each was drawn
  std::size_t draws_ = 0;
};

// Means of neighbours, so that there are at most `most`.
std::vector<double> thinned(const std::vector<double>& series, std::size_t most) {
  const std::size_t each = (series.size() + most - 1) / most;
  std::vector<double> out;
  for (std::size_t first = 0; first + each <= series.size(); first += each) {
    const auto at = series.begin() + static_cast<std::ptrdiff_t>(first);
    out.push_back(std::accumulate(at, at + static_cast<std::ptrdiff_t>(each), 0.0) / static_cast<double>(each));
  }
  return out;
}

double mean_product(const std::vector<double>& centred, std::size_t lag) {
  double sum = 0.0;
  for (std::size_t i = lag; i < centred.size(); ++i) sum += centred[i] * centred[i - lag];
  return sum / static_cast<double>(centred.size());
}

// The factor by which autocorrelation multiplies the variance of the series' mean. Two estimates, of which the larger
// counts. The sum 1 + 2 (rho_1 + rho_2 + ...), cut where the sum of two neighbours is no longer positive (Geyer 1992,
// the initial positive sequence), sees drifts and steps. That of a first-order process, (1 + rho) / (1 - rho), is what
// remains of it where the series is short. Autocorrelations about a series' own mean are too small, of such a process
// by (1 + 3 rho) / n (Kendall 1954), which is put back.
double variance_factor(const std::vector<double>& centred) {
  const auto n = static_cast<double>(centred.size());
  const double variance = mean_product(centred, 0);
  double sum = -1.0;
  for (std::size_t lag = 0; lag + 1 < centred.size(); lag += 2) {
    const double pair = (mean_product(centred, lag) + mean_product(centred, lag + 1)) / variance;
    if (pair <= 0.0) break;
    sum += 2.0 * pair;
  }
  // The same mean takes sum / n from every autocorrelation, so from their sum the factor 1 - sum / n.
  sum /= std::max(1.0 - sum / n, 1.0 / n);
  const double rho = (mean_product(centred, 1) / variance * n + 1.0) / (n - 3.0);
  const double first_order = rho < 1.0 ? (1.0 + rho) / (1.0 - rho) : n;
  return std::max({sum, first_order, 1.0});
}

}  // namespace

double quantile(std::span<const double> samples, double p) { return quantile_of_sorted(sorted(samples), p); }
double median(std::span<const double> samples) { return quantile(samples, 0.5); }

double median_absolute_deviation(std::span<const double> samples) {
  const double middle = median(samples);
  std::vector<double> distances;
  for (const double x : samples) distances.push_back(std::fabs(x - middle));
  return median(distances);
}

Index samples_for_median(double confidence) {
  Index n = 1;
  while (rank_below_median(n, confidence) == 0) ++n;
  return n;
}

Estimate median_interval(std::span<const double> samples, double confidence) {
  return median_interval(samples, confidence, static_cast<double>(samples.size()));
}

Estimate median_interval(std::span<const double> samples, double confidence, double worth) {
  const std::vector<double> x = sorted(samples);
  const auto n = static_cast<Index>(x.size());
  const Index whole = std::clamp(static_cast<Index>(worth), Index{1}, n);
  const Index k = rank_below_median(whole, confidence);
  if (k == 0) return {quantile_of_sorted(x, 0.5), -kInfinite, kInfinite};
  const auto at = static_cast<std::size_t>((k - 1) * n / whole);
  return {quantile_of_sorted(x, 0.5), x[at], x[x.size() - 1 - at]};
}

Index samples_for_percentile(double p, double confidence) {
  assert(p > 0.0 && p < 1.0 && confidence < 1.0);
  const auto enough = [&](Index n) { return binomial_cdf(1, n, 1.0 - p) <= 1.0 - confidence; };
  Index n = 2;
  while (!enough(n)) n *= 2;
  for (Index low = n / 2; low + 1 < n;) {  // not enough; n is
    const Index middle = (low + n) / 2;
    (enough(middle) ? n : low) = middle;
  }
  return n;
}

double effective_samples(std::span<const double> series) {
  const auto n = static_cast<double>(series.size());
  if (series.size() < 5) return n;  // too short to tell
  std::vector<double> centred = ranks(series).of;
  for (double& r : centred) r -= (n + 1.0) / 2.0;
  const double variance = mean_product(centred, 0);
  if (variance == 0.0) return n;
  const std::vector<double> means = thinned(centred, 2000);
  const double thinner = n / static_cast<double>(means.size());
  const double factor = variance_factor(means) * thinner * mean_product(means, 0) / variance;
  return std::clamp(n / factor, 1.0, n);
}

Estimate ratio_of_medians(std::span<const double> base, std::span<const double> next, const Resampling& options) {
  MedianOfResample below(base, options.base_worth), above(next, options.next_worth);
  // A thousand are left where series are so long that 4,000 take seconds.
  const auto affordable = static_cast<Index>(std::size_t{100'000'000} / (below.draws() + above.draws()));
  const Index resamples = std::min(options.resamples, std::max(affordable, Index{1000}));
  std::vector<double> ratios;
  std::uint64_t place = 0;
  for (Index i = 0; i < resamples; ++i) {
    const double under = below.next(options.seed, place);
    ratios.push_back(above.next(options.seed, place) / under);
  }
  std::ranges::sort(ratios);
  const double value = median(next) / median(base);
  const double tail = (1.0 - options.confidence) / 2.0;
  return {value, std::min(value, quantile_of_sorted(ratios, tail)),
          std::max(value, quantile_of_sorted(ratios, 1.0 - tail))};
}

double mann_whitney(std::span<const double> a, std::span<const double> b) {
  if (a.empty() || b.empty()) return 1.0;
  std::vector<double> both(a.begin(), a.end());
  both.insert(both.end(), b.begin(), b.end());
  const Ranks r = ranks(both);
  const auto na = static_cast<double>(a.size()), nb = static_cast<double>(b.size()), n = na + nb;
  const double sum = std::accumulate(r.of.begin(), r.of.begin() + static_cast<std::ptrdiff_t>(a.size()), 0.0);
  const double mean = na * (n + 1.0) / 2.0, off = std::fabs(sum - mean);
  if (r.ties == 0.0 && both.size() <= kExact) {
    return std::min(1.0, 2.0 * share_of_subsets(both.size(), a.size(), mean - off));
  }
  const double variance = na * nb / 12.0 * (n + 1.0 - r.ties / (n * (n - 1.0)));
  return variance > 0.0 ? two_sided_normal((off - 0.5) / std::sqrt(variance)) : 1.0;
}

double signed_rank(std::span<const double> differences) {
  std::vector<double> sizes;
  std::vector<bool> up;
  for (const double d : differences) {
    if (d == 0.0) continue;
    sizes.push_back(std::fabs(d));
    up.push_back(d > 0.0);
  }
  if (sizes.empty()) return 1.0;
  const Ranks r = ranks(sizes);
  double sum = 0.0;
  for (std::size_t i = 0; i < sizes.size(); ++i) sum += up[i] ? r.of[i] : 0.0;
  const auto n = static_cast<double>(sizes.size());
  const double mean = n * (n + 1.0) / 4.0, off = std::fabs(sum - mean);
  if (r.ties == 0.0 && sizes.size() <= kExact) {
    return std::min(1.0, 2.0 * share_of_subsets(sizes.size(), 0, mean - off));
  }
  const double variance = n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - r.ties / 48.0;
  return two_sided_normal((off - 0.5) / std::sqrt(variance));
}

double weakened(double p, double fraction, Index freedom) {
  if (fraction >= 1.0 || p >= 1.0) return p;
  return student_two_sided(normal_deviation(p) * std::sqrt(fraction), freedom);
}

std::vector<double> holm(std::span<const double> p_values) {
  std::vector<std::size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return p_values[i]; });
  std::vector<double> out(p_values.size());
  double largest = 0.0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    largest = std::max(largest, p_values[order[i]] * static_cast<double>(order.size() - i));
    out[order[i]] = std::min(largest, 1.0);
  }
  return out;
}

double binomial_cdf(Index successes, Index trials, double chance) {
  if (successes < 0) return 0.0;
  if (successes >= trials) return 1.0;
  const auto n = static_cast<double>(trials);
  const auto log_of = [&](double k) {
    return std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1.0) + k * std::log(chance) +
           (n - k) * std::log1p(-chance);
  };
  // From the tail's largest term outwards: below the mean that is P(X <= successes), above it what is left.
  const double odds = chance / (1.0 - chance);
  const bool below = static_cast<double>(successes) <= n * chance;
  double k = static_cast<double>(successes) + (below ? 0.0 : 1.0), term = std::exp(log_of(k)), sum = 0.0;
  constexpr double kNothing = 1e-18;  // of the sum: below what a double can hold
  while (k >= 0.0 && k <= n && term > sum * kNothing) {
    sum += term;
    term *= below ? k / ((n - k + 1.0) * odds) : (n - k) * odds / (k + 1.0);
    k += below ? -1.0 : 1.0;
  }
  return std::clamp(below ? sum : 1.0 - sum, 0.0, 1.0);
}

double normal_deviation(double p) {
  double low = 0.0, high = 40.0;
  for (int i = 0; i < 80; ++i) {
    const double z = (low + high) / 2.0;
    (two_sided_normal(z) > p ? low : high) = z;
  }
  return low;
}

// Abramowitz and Stegun, 26.7.3 and 26.7.4.
double student_two_sided(double t, Index freedom) {
  if (freedom > 1000) return two_sided_normal(t);
  const double angle = std::atan(t / std::sqrt(static_cast<double>(freedom)));
  const double cosine = std::cos(angle);
  const bool odd = freedom % 2 == 1;
  double term = odd ? cosine : 1.0, sum = 0.0;
  for (Index i = odd ? 3 : 2; i <= freedom; i += 2) {
    sum += term;
    term *= cosine * cosine * static_cast<double>(i - 1) / static_cast<double>(i);
  }
  const double inside = odd ? 2.0 / std::numbers::pi * (angle + std::sin(angle) * sum) : std::sin(angle) * sum;
  return std::clamp(1.0 - inside, 0.0, 1.0);
}

}  // namespace mlbench::measure
