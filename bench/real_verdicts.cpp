// What mlbench compare answers about real runs of one build: false alarms over all pairs of them, and how often a
// slowdown is found that is planted by multiplying one side's times. Reads a folder of results, a1.json and b1.json of
// the first interleaved run (bench --against the same program), a2.json and b2.json of the second, and so on.
// docs/benchmark-statistics.md shows the commands and what they gave.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "core/error.h"
#include "core/file_map.h"
#include "core/hash.h"
#include "harness/measure/compare_runs.h"
#include "harness/measure/statistics.h"
#include "reports/bench_report.h"

namespace mlbench::measure {
namespace {

constexpr std::array kPlanted = {0.0, 0.03, 0.05, 0.10};
constexpr std::size_t kLargestRun = std::size_t{1} << 30U;
constexpr std::size_t kOfASet = 5, kInterleaved = 10;
constexpr Index kSplits = 200;  // random pairs of sets
constexpr Index kResamples = 2000;

// Verdicts of the rows of one comparison.
struct Answers {
  std::array<double, 4> of{};  // by Difference
  double rows = 0.0;

  void add(const BenchComparison& comparison) {
    for (const ComparedRow& row : comparison.rows) {
      if (!row.not_compared.empty()) throw request_error("usage", "not compared: " + row.not_compared);
      of[static_cast<std::size_t>(row.difference)] += 1.0;
      rows += 1.0;
    }
  }
  void add(const Answers& other) {
    for (std::size_t i = 0; i < of.size(); ++i) of[i] += other.of[i];
    rows += other.rows;
  }
  [[nodiscard]] double share(Difference difference) const {
    return rows > 0.0 ? of[static_cast<std::size_t>(difference)] / rows : 0.0;
  }
};

// An answer that a comparison of `planted` should not have given, or, where something is planted, the right one.
double wanted_share(const Answers& answers, double planted) {
  return planted == 0.0 ? answers.share(Difference::slower) + answers.share(Difference::faster)
                        : answers.share(Difference::slower);
}

BenchRun slowed(BenchRun run, double share) {
  for (BenchRow& row : run.rows) {
    for (double& t : row.samples) t *= 1.0 + share;
  }
  return run;
}

class Draws {
 public:
  explicit Draws(std::uint64_t seed) : seed_(seed) {}
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(scattered(seed_, drawn_++) % n); }

 private:
  std::uint64_t seed_, drawn_ = 0;
};

// Comparisons, each of some runs; rates whose intervals come from drawing runs anew (Efron and Tibshirani 1993),
// because two comparisons that share a run are not independent.
class Table {
 public:
  explicit Table(std::size_t runs) : runs_(runs) {}

  void add(std::size_t i, std::size_t j, const BenchComparison& comparison) {
    entries_.push_back({i, j, {}});
    entries_.back().answers.add(comparison);
  }

  void print(const std::string& how, double planted) const {
    Answers all;
    for (const Entry& entry : entries_) all.add(entry.answers);
    std::vector<double> shares;
    Draws draws(1);
    for (Index r = 0; r < kResamples; ++r) {
      std::vector<double> times(runs_);
      for (std::size_t i = 0; i < runs_; ++i) times[draws.below(runs_)] += 1.0;
      Answers drawn;
      for (const Entry& entry : entries_) {
        const double weight = entry.i == entry.j ? times[entry.i] : times[entry.i] * times[entry.j];
        for (std::size_t d = 0; d < drawn.of.size(); ++d) drawn.of[d] += weight * entry.answers.of[d];
        drawn.rows += weight * entry.answers.rows;
      }
      shares.push_back(wanted_share(drawn, planted));
    }
    const auto percent = [&](Difference d) { return fmt::format("{:.1f}%", 100.0 * all.share(d)); };
    fmt::print("| {} | {:.0f}% | {:.0f} | {} | {} | {} | {} | {:.1f}% to {:.1f}% |\n", how, 100.0 * planted, all.rows,
               percent(Difference::slower), percent(Difference::faster), percent(Difference::same),
               percent(Difference::undecided), 100.0 * quantile(shares, 0.025), 100.0 * quantile(shares, 0.975));
  }

 private:
  struct Entry {
    std::size_t i, j;
    Answers answers;
  };
  std::size_t runs_;
  std::vector<Entry> entries_;
};

using Runs = std::vector<BenchRun>;

Runs read(const std::string& folder, const std::string& side) {
  Runs out;
  for (int i = 1;; ++i) {
    const std::string file = fmt::format("{}/{}{}.json", folder, side, i);
    if (!std::filesystem::exists(file)) return out;
    out.push_back(reports::read_bench_run(read_text_file(file, kLargestRun), file));
  }
}

// Of each row: how far the medians of runs lie apart, as the relative deviation of a normal one.
std::vector<double> between_runs(const Runs& runs) {
  std::vector<double> out;
  for (std::size_t row = 0; row < runs.front().rows.size(); ++row) {
    std::vector<double> medians;
    for (const BenchRun& run : runs) medians.push_back(median(run.rows.at(row).samples));
    const double middle = median(medians),
                 mean = std::accumulate(medians.begin(), medians.end(), 0.0) / static_cast<double>(medians.size());
    double squares = 0.0;
    for (const double m : medians) squares += (m - mean) * (m - mean);
    const double deviation = std::sqrt(squares / static_cast<double>(medians.size() - 1));
    fmt::print("{}: median {:.4g} ms, runs apart by {:.2f}% (standard deviation), {:.1f}% (range)\n",
               describe(runs.front().rows[row].point, runs.front().rows[row].method), 1e3 * middle,
               100.0 * deviation / middle,
               100.0 * (*std::ranges::max_element(medians) - *std::ranges::min_element(medians)) / middle);
    out.push_back(deviation / middle);
  }
  return out;
}

void interleaved(const Runs& a, const Runs& b, double planted) {
  Table table(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    const BenchRun next = slowed(b[i], planted);
    table.add(i, i, compare_runs(std::span(&a[i], 1), std::span(&next, 1), {.paired = true, .force = true}));
  }
  table.print("interleaved", planted);
}

void single(const Runs& a, double between, double planted) {
  Table table(a.size());
  for (std::size_t j = 0; j < a.size(); ++j) {
    const BenchRun next = slowed(a[j], planted);
    for (std::size_t i = 0; i < j; ++i)
      table.add(i, j, compare_runs(std::span(&a[i], 1), std::span(&next, 1), {.between_runs = between}));
  }
  table.print(between > 0.0 ? fmt::format("single, --between-runs {:.3f}", between) : "single", planted);
}

// Runs drawn at random for both sides of many comparisons. Their rates have no interval here: few runs make many sets,
// which are not independent.
class Sets {
 public:
  Sets(const Runs& a, const Runs& b) : a_(a), b_(b) {}

  // Base and next from different runs.
  void apart(std::size_t of_a_set, double planted) {
    print(
        fmt::format("sets of {}", of_a_set), planted, {},
        [&](const std::vector<std::size_t>& order, std::size_t i) {
          return std::pair(a_[order[i]], slowed(a_[order[of_a_set + i]], planted));
        },
        of_a_set);
  }
  // Both sides of the same interleaved runs.
  void interleaved(std::size_t of_a_set, double planted) {
    print(
        fmt::format("{} interleaved", of_a_set), planted, {.paired = true, .force = true},
        [&](const std::vector<std::size_t>& order, std::size_t i) {
          return std::pair(a_[order[i]], slowed(b_[order[i]], planted));
        },
        of_a_set);
  }

 private:
  template <class Take>
  void print(const std::string& how, double planted, const CompareOptions& options, const Take& take,
             std::size_t of_a_set) {
    Answers all;
    for (Index s = 0; s < kSplits; ++s) {
      std::vector<std::size_t> order(a_.size());
      std::iota(order.begin(), order.end(), std::size_t{0});
      for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[draws_.below(i)]);
      Runs base, next;
      for (std::size_t i = 0; i < of_a_set; ++i) {
        auto [one, other] = take(order, i);
        base.push_back(std::move(one));
        next.push_back(std::move(other));
      }
      all.add(compare_runs(base, next, options));
    }
    fmt::print("| {} | {:.0f}% | {:.0f} | {:.1f}% | {:.1f}% | {:.1f}% | {:.1f}% | - |\n", how, 100.0 * planted,
               all.rows, 100.0 * all.share(Difference::slower), 100.0 * all.share(Difference::faster),
               100.0 * all.share(Difference::same), 100.0 * all.share(Difference::undecided));
  }

  const Runs &a_, &b_;
  Draws draws_{2};
};

void print_all(const std::string& folder) {
  const Runs a = read(folder, "a"), b = read(folder, "b");
  if (a.size() != b.size() || a.size() < 2 * kOfASet)
    throw request_error("usage", fmt::format("{}: expected a1.json, b1.json and so on, {} of each at least; found {} "
                                             "and {}",
                                             folder, 2 * kOfASet, a.size(), b.size()));
  const std::vector<double> apart = between_runs(a);
  const double most = *std::ranges::max_element(apart);
  fmt::print(
      "\n| compared | planted | rows | slower | faster | same | undecided | false alarms, or found: 95% interval |\n");
  fmt::print("|---|---|---|---|---|---|---|---|\n");
  for (const double planted : kPlanted) interleaved(a, b, planted);
  for (const double planted : kPlanted) single(a, 0.0, planted);
  for (const double planted : kPlanted) single(a, most, planted);
  Sets sets(a, b);
  for (const double planted : kPlanted) sets.apart(kOfASet, planted);
  for (const double planted : kPlanted) sets.interleaved(kInterleaved, planted);
}

}  // namespace
}  // namespace mlbench::measure

int main(int argc, char** argv) {
  CLI::App app("What comparisons of real runs of one build answer, and of planted slowdowns", "real_verdicts");
  std::string folder;
  app.add_option("folder", folder, "Of a1.json, b1.json, a2.json, ...")->required()->type_name("FOLDER");
  CLI11_PARSE(app, argc, argv);
  try {
    mlbench::measure::print_all(folder);
  } catch (const mlbench::Error& error) {
    fmt::print(stderr, "real_verdicts: {}: {}\n", error.code(), error.message());
    return 2;
  }
  return 0;
}
