#include "bench/synthetic_tables.h"

#include <fmt/format.h>

#include "harness/measure/statistics.h"

namespace mlbench::measure {
namespace {

// Tenths where they matter: near 0 and near 100.
std::string text_of(double percent) {
  return fmt::format("{:.{}f}", percent, percent < 9.95 || percent > 90.05 ? 1 : 0);
}

}  // namespace

void print_row(const std::vector<std::string>& cells) { fmt::print("| {} |\n", fmt::join(cells, " | ")); }
void print_head(const std::string& caption, const std::vector<std::string>& names) {
  fmt::print("\n{}\n\n", caption);
  print_row(names);
  fmt::print("|{}\n", fmt::join(std::vector<std::string>(names.size(), "---|"), ""));
}

std::string percent(const Share& share) {
  if (share.count == 0) return "0";
  if (share.count == share.of) return "100%";
  return text_of(100.0 * static_cast<double>(share.count) / static_cast<double>(share.of)) + "%";
}

double chance_where(Index k, Index n, double p) {
  double low = 0.0, high = 1.0;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2.0;
    (binomial_cdf(k, n, middle) > p ? low : high) = middle;
  }
  return low;
}

std::string with_interval(const Share& share) {
  const double low = share.count == 0 ? 0.0 : 100.0 * chance_where(share.count - 1, share.of, 0.975);
  const double high = share.count == share.of ? 100.0 : 100.0 * chance_where(share.count, share.of, 0.025);
  if (share.count == 0) return fmt::format("0 (to {}%)", text_of(high));
  return fmt::format("{} ({} to {}%)", percent(share), text_of(low), text_of(high));
}

std::string noise_text(const Noise& noise) { return fmt::format("{:g}%", 100.0 * noise.size); }

std::string median_and_most(const Times& numbers) {
  return fmt::format("{:.0f}; {:.0f}", quantile(numbers, 0.5), quantile(numbers, 0.95));
}

}  // namespace mlbench::measure
