// How the tables of synthetic_verdicts are printed, and what their lines are made of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/synthetic_series.h"

namespace mlbench::measure {

struct Options {
  std::uint64_t seed = 1;
  Index series = 1000;      // or pairs of runs, of each line of a table
  Index planted = 100'000;  // pairs, no more, in which slowdowns are planted
};

void print_row(const std::vector<std::string>& cells);
void print_head(const std::string& caption, const std::vector<std::string>& names);

struct Share {
  Index count = 0, of = 0;
  void see(bool is) {
    count += is ? 1 : 0;
    ++of;
  }
};
[[nodiscard]] std::string percent(const Share& share);
// With the interval of Clopper and Pearson (Biometrika 26, 1934) at 95%.
[[nodiscard]] std::string with_interval(const Share& share);
// The chance for which P(X <= k) of n trials is p.
[[nodiscard]] double chance_where(Index k, Index n, double p);

[[nodiscard]] std::string noise_text(const Noise& noise);
// "42; 62": the median, and what 95% do not exceed.
[[nodiscard]] std::string median_and_most(const Times& numbers);

}  // namespace mlbench::measure
