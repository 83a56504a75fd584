#include "reports/dashboard/change_points.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace mlbench::reports::dashboard {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNormal95 = 1.959964;        // half the width of a 95% interval, in standard deviations
constexpr double kMadToDeviation = 1.482602;  // of normal noise
constexpr double kSmallestNoise = 0.001;      // figures are not known better: else a constant series splits at rounding
constexpr double kFarthest = 2.5;             // times the noise, from the median of the neighbours
constexpr std::size_t kNeighbours = 5;        // on each side
constexpr std::array<std::size_t, 6> kLags = {1, 2, 3, 5, 8, 12};
constexpr std::size_t kRunsPerLag = 3;
constexpr double kRhoByChance = 0.2;  // what the largest of several estimates makes of independent runs
// Cost of a change: kPenalty log(n), for series whose noise is well known; estimated from few runs it may be too small
// by chance, so that short series get more. Chosen by simulation (ChangePoints.* prints what it comes to).
constexpr double kPenalty = 2.8;
constexpr double kShortSeries = 12.0;

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

struct Noise {
  double deviation = 0.0;  // of a run about its level
  double lasting =
      1.0;  // how many times independent runs' the variance of a mean is, as neighbours resemble each other
};

// From differences of runs some lags apart: the further apart, the more of what wanders slowly is in them. Of a
// first-order process the variances of lag 1 and of a large lag are as 1 - rho to 1.
Noise noise_of(const std::vector<double>& x) {
  double nearest = kSmallestNoise, largest = kSmallestNoise;
  for (const std::size_t lag : kLags) {
    if (lag > 1 && lag * kRunsPerLag > x.size()) break;
    std::vector<double> differences;
    for (std::size_t i = lag; i < x.size(); ++i) differences.push_back(std::abs(x[i] - x[i - lag]));
    const double deviation = kMadToDeviation * median_of(std::move(differences)) / std::sqrt(2.0);
    if (lag == 1) nearest = std::max(nearest, deviation);
    largest = std::max(largest, deviation);
  }
  const double rho = std::max(0.0, 1.0 - nearest * nearest / (largest * largest) - kRhoByChance);
  return {largest, (1.0 + rho) / (1.0 - rho)};
}

// The series without what only single runs did.
std::vector<double> tamed(const std::vector<double>& x, double noise) {
  std::vector<double> out = x;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t begin = i < kNeighbours ? 0 : i - kNeighbours;
    const std::size_t end = std::min(x.size(), i + kNeighbours + 1);
    const double middle =
        median_of({x.begin() + static_cast<std::ptrdiff_t>(begin), x.begin() + static_cast<std::ptrdiff_t>(end)});
    out[i] = std::clamp(x[i], middle - kFarthest * noise, middle + kFarthest * noise);
  }
  return out;
}

double own_noise(const Estimate& e) {
  const bool known = e.low > 0.0 && e.high >= e.low && std::isfinite(e.high);
  return known ? (std::log(e.high) - std::log(e.low)) / (2.0 * kNormal95) : 0.0;
}

// Sums over the first i values, so that the cost of any segment takes the same time.
class Segments {
 public:
  Segments(const std::vector<double>& x, const std::vector<double>& weights) {
    // Of deviations from one of them, since squares of large numbers would cancel.
    const double origin = x.front();
    sums_.push_back({0.0, 0.0, 0.0});
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double w = weights[i], d = x[i] - origin;
      sums_.push_back({sums_.back()[0] + w, sums_.back()[1] + w * d, sums_.back()[2] + w * d * d});
    }
  }
  [[nodiscard]] double weight(std::size_t begin, std::size_t end) const { return sums_[end][0] - sums_[begin][0]; }
  [[nodiscard]] double level(std::size_t begin, std::size_t end) const {
    return (sums_[end][1] - sums_[begin][1]) / weight(begin, end);
  }
  [[nodiscard]] double cost(std::size_t begin, std::size_t end) const {
    const double sum = sums_[end][1] - sums_[begin][1];
    return sums_[end][2] - sums_[begin][2] - sum * sum / weight(begin, end);
  }

 private:
  std::vector<std::array<double, 3>> sums_;
};

// Where segments begin, 0 and n included. A beginning is dropped once another is better for all that may follow, which,
// where segments have a shortest length, is so that much later.
std::vector<std::size_t> best_segments(const Segments& segments, std::size_t n, double penalty) {
  std::vector<double> best(n + 1, kInf);
  std::vector<std::size_t> before(n + 1, 0), dropped(n + 1, n + 1), open = {0};
  best[0] = -penalty;
  for (std::size_t end = kShortestLevel; end <= n; ++end) {
    std::erase_if(open, [&](std::size_t begin) { return dropped[begin] <= end; });
    for (const std::size_t begin : open) {
      const double total = best[begin] + segments.cost(begin, end) + penalty;
      if (total < best[end]) {
        best[end] = total;
        before[end] = begin;
      }
    }
    for (const std::size_t begin : open) {
      const bool beaten = best[begin] + segments.cost(begin, end) > best[end];
      if (beaten && dropped[begin] > n) dropped[begin] = end + kShortestLevel;
    }
    // From here on the end that lies the shortest length back may begin a segment.
    const std::size_t next = end + 1 - kShortestLevel;
    if (next >= kShortestLevel && std::isfinite(best[next])) open.push_back(next);
  }
  std::vector<std::size_t> bounds = {n};
  while (bounds.back() != 0) bounds.push_back(before[bounds.back()]);
  std::ranges::reverse(bounds);
  return bounds;
}

double step_at(const Segments& segments, const std::vector<std::size_t>& bounds, std::size_t i) {
  return segments.level(bounds[i], bounds[i + 1]) - segments.level(bounds[i - 1], bounds[i]);
}

// Steps that do not matter are undone, the smallest first: what is left of a level is then that of both.
void join_small_steps(const Segments& segments, std::vector<std::size_t>& bounds) {
  while (bounds.size() > 2) {
    std::size_t smallest = 1;
    for (std::size_t i = 2; i + 1 < bounds.size(); ++i) {
      if (std::abs(step_at(segments, bounds, i)) < std::abs(step_at(segments, bounds, smallest))) smallest = i;
    }
    if (std::abs(step_at(segments, bounds, smallest)) >= std::log1p(kSmallestChange)) return;
    bounds.erase(bounds.begin() + static_cast<std::ptrdiff_t>(smallest));
  }
}

std::vector<double> weights_of(std::span<const Estimate> series, double noise) {
  std::vector<double> own;
  for (const Estimate& e : series) own.push_back(own_noise(e));
  const double typical = median_of(own);
  const double between = std::max(noise * noise - typical * typical, kSmallestNoise * kSmallestNoise);
  std::vector<double> weights;
  for (const double s : own) weights.push_back(1.0 / (between + s * s));
  return weights;
}

}  // namespace

std::vector<ChangePoint> change_points(std::span<const Estimate> series) {
  const std::size_t skipped = series.size() > kChangeWindow ? series.size() - kChangeWindow : 0;
  series = series.subspan(skipped);
  const std::size_t n = series.size();
  if (n < kShortestSeries) return {};
  std::vector<double> x;
  for (const Estimate& e : series) x.push_back(std::log(e.value));
  const Noise noise = noise_of(x);
  const Segments segments(tamed(x, noise.deviation), weights_of(series, noise.deviation));
  const auto runs = static_cast<double>(n);
  std::vector<std::size_t> bounds =
      best_segments(segments, n, kPenalty * noise.lasting * std::log(runs) * (1.0 + kShortSeries / runs));
  join_small_steps(segments, bounds);
  std::vector<ChangePoint> out;
  for (std::size_t i = 1; i + 1 < bounds.size(); ++i) {
    const double step = step_at(segments, bounds, i);
    const double error = kNormal95 * std::sqrt(1.0 / segments.weight(bounds[i - 1], bounds[i]) +
                                               1.0 / segments.weight(bounds[i], bounds[i + 1]));
    out.push_back({skipped + bounds[i], {std::exp(step), std::exp(step - error), std::exp(step + error)}});
  }
  return out;
}

}  // namespace mlbench::reports::dashboard
