// What the rules of `bench` and `compare` are worth on series whose truth is known: when a warm-up is taken to be over,
// whether the interval of a median holds it, how often runs of the same are told apart, and how often a slowdown that
// was planted is found. Prints the tables of docs/benchmark-statistics.md; fails where runs that do not differ are told
// apart more often than the level of the test and chance allow.
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "bench/synthetic_rules.h"
#include "bench/synthetic_series.h"
#include "bench/synthetic_tables.h"
#include "harness/measure/compare_runs.h"
#include "harness/measure/statistics.h"

namespace mlbench::measure {
namespace {

struct Sides {
  std::vector<BenchRun> base, next;
};

// One line of a table: sides that do not differ, from a seed, and how they are compared.
struct Cell {
  std::string series, noise, size;
  std::function<Sides(Dice&)> make;
  CompareOptions options;
  bool quiet = false;  // samples, pairs or runs are independent: more alarms than the level are a fault
};

BenchRun bench_run(Times samples) {
  BenchRow row;
  row.point.model = "synthetic";
  row.method = "decode";
  row.check = BenchCheck::passed;
  row.samples = std::move(samples);
  BenchRun run;
  run.rows.push_back(std::move(row));
  return run;
}

std::vector<BenchRun> slowed(std::vector<BenchRun> runs, double by) {
  for (BenchRun& run : runs) {
    for (double& time : run.rows.front().samples) time *= by;
  }
  return runs;
}

// The rule as it is, without its third condition, and asking of the interval only that it excludes 1.
Difference as_it_is(const ComparedRow& row, const CompareOptions&) { return row.difference; }
Difference by_interval(const ComparedRow& row, const CompareOptions& o) {
  if (row.p_value > o.family_error) return Difference::undecided;
  if (row.ratio.low > 1.0 + o.floor) return Difference::slower;
  return row.ratio.high < 1.0 - o.floor ? Difference::faster : Difference::undecided;
}
Difference by_estimate(const ComparedRow& row, const CompareOptions& o) {
  if (row.p_value > o.family_error) return Difference::undecided;
  if (row.ratio.low > 1.0 && row.ratio.value > 1.0 + o.floor) return Difference::slower;
  return row.ratio.high < 1.0 && row.ratio.value < 1.0 - o.floor ? Difference::faster : Difference::undecided;
}
constexpr std::array kRules = {as_it_is, by_interval, by_estimate};
constexpr std::array kPlanted = {1.03, 1.05, 1.10};

struct Answers {
  struct OfRule {
    Share alarms;                              // among sides that do not differ
    std::array<Share, kPlanted.size()> found;  // as slower, which they are
  };
  std::array<OfRule, kRules.size()> rules;
  // Of sides that do not differ: told so; where the test's p is small enough for a difference; where that of Mann and
  // Whitney's test alone is, which takes samples as independent.
  Share same, small_p, by_ranks;
};

// The slowdowns are planted in the same pairs that are compared as they are.
Answers answers_in(const Cell& cell, const Options& options) {
  Dice dice(options.seed, fmt::format("{}, {}, {}", cell.series, cell.noise, cell.size));
  Answers out;
  for (Index i = 0; i < options.series; ++i) {
    const Sides sides = cell.make(dice);
    CompareOptions how = cell.options;
    how.seed = options.seed + static_cast<std::uint64_t>(i);
    const auto compared = [&](double slowdown) {
      return compare_runs(sides.base, slowed(sides.next, slowdown), how).rows.front();
    };
    const ComparedRow row = compared(1.0);
    out.same.see(row.difference == Difference::same);
    out.small_p.see(row.p_value <= how.family_error);
    out.by_ranks.see(mann_whitney(sides.base[0].rows[0].samples, sides.next[0].rows[0].samples) <= how.family_error);
    for (std::size_t r = 0; r < kRules.size(); ++r) {
      const Difference said = kRules[r](row, how);
      out.rules[r].alarms.see(said == Difference::slower || said == Difference::faster);
    }
    for (std::size_t p = 0; p < kPlanted.size() && i < options.planted; ++p) {
      const ComparedRow planted = compared(kPlanted[p]);
      for (std::size_t r = 0; r < kRules.size(); ++r)
        out.rules[r].found[p].see(kRules[r](planted, how) == Difference::slower);
    }
  }
  return out;
}

// Cells that must have few false alarms and few small p: each by itself, and all together.
class Alarms {
 public:
  void see(const Cell& cell, const Answers& answers) {
    if (!cell.quiet) return;
    const std::string name = fmt::format("{}, {}, {}", cell.series, cell.noise, cell.size);
    see(alarms_, name + ": false alarms", answers.rules.front().alarms);
    see(small_p_, name + ": p of at most 1%", answers.small_p);
  }

  // Whether there are no more than chance allows. Where all is independent p is valid: it is at most the level, 1%,
  // with at most that chance, and an alarm asks for more than that. Limits are such that sound rules stay within all of
  // them in 999 of 1,000 seeds: half of that chance is the totals', the rest is shared out among the cells.
  [[nodiscard]] bool conclude() const {
    if (seen_.empty()) return true;
    const auto text = [](const Share& share) {
      return fmt::format("{} (at most {:.2g}%)", share.count, 100.0 * chance_where(share.count, share.of, 0.05));
    };
    fmt::print("\n{} pairs where all is independent; false alarms: {}; p of at most 1%: {}.\n", alarms_.of,
               text(alarms_), text(small_p_));
    bool sound = within("all: false alarms", alarms_, 0.00025) && within("all: p of at most 1%", small_p_, 0.00025);
    for (const auto& [name, share] : seen_)
      sound = within(name, share, 0.0005 / static_cast<double>(seen_.size())) && sound;
    return sound;
  }

 private:
  void see(Share& total, const std::string& name, const Share& share) {
    total.count += share.count;
    total.of += share.of;
    seen_.emplace_back(name, share);
  }

  static bool within(const std::string& name, const Share& share, double chance) {
    if (share.count == 0 || 1.0 - binomial_cdf(share.count - 1, share.of, kLevel) > chance) return true;
    fmt::print(stderr, "synthetic_verdicts: {}: {} of {} pairs: expected no more than {:g}% and chance\n", name,
               share.count, share.of, 100.0 * kLevel);
    return false;
  }

  static constexpr double kLevel = CompareOptions{}.family_error;
  Share alarms_, small_p_;
  std::vector<std::pair<std::string, Share>> seen_;
};

Cell single(const std::string& name, const Noise& noise, Index n, bool quiet, double between_runs = 0.0) {
  const auto make = [noise, n](Dice& dice) {
    const auto run = [&] { return bench_run(n > 0 ? run_of(noise, n, dice) : until_precise(noise, dice)); };
    Sides sides;
    sides.base.push_back(run());
    sides.next.push_back(run());
    return sides;
  };
  return {name, noise_text(noise), n > 0 ? fmt::format("{}", n) : "until precise", make, {.between_runs = between_runs},
          quiet};
}

std::vector<Cell> single_cells() {
  std::vector<Cell> out;
  const auto add = [&](const std::string& name, const Noise& noise, const std::vector<Index>& sizes, bool quiet,
                       double between_runs = 0.0) {
    for (const Index n : sizes) out.push_back(single(name, noise, n, quiet, between_runs));
  };
  add("independent", {.size = 0.01}, {6, 10, 20}, true);
  add("independent", {.size = 0.04}, {20, 50, 100, 200}, true);
  add("skewed, outliers", {.size = 0.04, .skewed = true}, {20, 100}, true);
  add("first-order, rho 0.8", {.size = 0.04, .rho = 0.8}, {20, 50, 200}, false);
  add("first-order, rho 0.95", {.size = 0.04, .rho = 0.95}, {6, 20, 50, 200}, false);
  add("drift of 5%, up or down", {.size = 0.01, .drift = 0.05}, {6, 20, 200}, false);
  add("drift of 5%, up or down", {.size = 0.04, .drift = 0.05}, {20, 50, 200}, false);
  add("step of 3% at a random time", {.size = 0.01, .step = 0.03}, {20, 200}, false);
  add("step of 10% at a random time", {.size = 0.01, .step = 0.1}, {20, 200}, false);
  add("runs 1% apart", {.size = 0.01, .between = 0.01}, {20, 200}, false);
  add("runs 1% apart, `between_runs` 1%", {.size = 0.01, .between = 0.01}, {20, 200}, false, 0.01);
  return out;
}

std::vector<std::string> found_texts(const Answers& answers) {
  std::vector<std::string> out;
  for (const Share& found : answers.rules.front().found) out.push_back(percent(found));
  return out;
}

void print_cells(const std::string& caption, std::vector<std::string> names, const std::vector<Cell>& cells,
                 bool by_ranks, const Options& options, Alarms& alarms) {
  names.emplace_back("false alarms");
  if (by_ranks) names.emplace_back("p of U alone <= 1%");
  for (const char* name : {"p <= 1%", "same", "3% found", "5% found", "10% found"}) names.emplace_back(name);
  print_head(fmt::format("{} pairs each; {}:", options.series, caption), names);
  for (const Cell& cell : cells) {
    const Answers answers = answers_in(cell, options);
    alarms.see(cell, answers);
    std::vector<std::string> texts = {cell.series, cell.noise, cell.size, with_interval(answers.rules.front().alarms)};
    if (by_ranks) texts.push_back(percent(answers.by_ranks));
    texts.push_back(percent(answers.small_p));
    texts.push_back(percent(answers.same));
    for (const std::string& text : found_texts(answers)) texts.push_back(text);
    print_row(texts);
  }
}

void print_single(const Options& options, Alarms& alarms) {
  print_cells("one run a side", {"single runs", "noise", "repetitions"}, single_cells(), true, options, alarms);
}

// What the conditions for a difference are there for.
void print_conditions(const Options& options) {
  print_head(fmt::format("{} pairs each; false alarms, and slowdowns of 5% found:", options.series),
             {"single runs", "noise", "repetitions", "as it is", "without (3)", "estimate beyond the floor"});
  const std::vector<Cell> cells = {
      single("independent", {.size = 0.04}, 20, false),
      single("independent", {.size = 0.04}, 50, false),
      single("independent", {.size = 0.04}, 0, false),
      single("step of 3% at a random time", {.size = 0.01, .step = 0.03}, 20, false),
      single("step of 3% at a random time", {.size = 0.01, .step = 0.03}, 200, false),
      single("step of 10% at a random time", {.size = 0.01, .step = 0.1}, 200, false),
      single("runs 1% apart", {.size = 0.01, .between = 0.01}, 20, false),
      single("runs 1% apart", {.size = 0.01, .between = 0.01}, 200, false),
  };
  for (const Cell& cell : cells) {
    const Answers answers = answers_in(cell, options);
    std::vector<std::string> texts = {cell.series, cell.noise, cell.size};
    for (const Answers::OfRule& rule : answers.rules)
      texts.push_back(fmt::format("{}, {}", percent(rule.alarms), percent(rule.found[1])));
    print_row(texts);
  }
}

// Neighbours of two sides, each with noise of its own, and what is common to both.
Cell interleaved(const std::string& name, const Noise& own, const Noise& common, Index n, bool quiet) {
  const auto make = [own, common, n](Dice& dice) {
    Times base = run_of(own, n, dice), next = run_of(own, n, dice);
    const Times both = run_of(common, n, dice);
    for (std::size_t i = 0; i < both.size(); ++i) {
      base[i] *= both[i];
      next[i] *= both[i];
    }
    return Sides{{bench_run(std::move(base))}, {bench_run(std::move(next))}};
  };
  return {name, noise_text(own), fmt::format("{}", n), make, {.paired = true}, quiet};
}

void print_interleaved(const Options& options, Alarms& alarms) {
  const std::vector<std::pair<double, Index>> sizes = {{0.01, 20}, {0.01, 50}, {0.03, 50}, {0.03, 100}, {0.05, 100}};
  const Noise drifting{.size = 0.05, .rho = 0.9};
  std::vector<Cell> cells;
  for (const auto& [noise, n] : sizes) cells.push_back(interleaved("independent", {.size = noise}, {}, n, true));
  for (const auto& [noise, n] : sizes)
    cells.push_back(interleaved("common first-order, 5%, rho 0.9", {.size = noise}, drifting, n, true));
  cells.push_back(interleaved("common steps of 10%", {.size = 0.01}, {.step = 0.1}, 50, true));
  cells.push_back(interleaved("first-order of each side, rho 0.8", {.size = 0.03, .rho = 0.8}, {}, 100, false));
  cells.push_back(interleaved("processes 1% apart", {.size = 0.01, .between = 0.01}, {}, 50, false));
  print_cells("neighbours compared", {"interleaved", "noise of each side", "repetitions"}, cells, false, options,
              alarms);
}

constexpr Index kOfARun = 20;

Cell set_of_runs(double apart, Index runs) {
  const auto make = [apart, runs](Dice& dice) {
    Sides sides;
    for (Index i = 0; i < runs; ++i) {
      for (std::vector<BenchRun>* side : {&sides.base, &sides.next})
        side->push_back(bench_run(run_of({.size = 0.01, .between = apart}, kOfARun, dice)));
    }
    return sides;
  };
  return {fmt::format("runs {:g}% apart", 100.0 * apart), "1%", fmt::format("{}", runs), make, {}, true};
}

void print_sets(const Options& options, Alarms& alarms) {
  const std::vector<std::pair<double, Index>> sizes = {{0.003, 3}, {0.003, 5}, {0.01, 5},
                                                       {0.01, 6},  {0.02, 6},  {0.02, 12}};
  std::vector<Cell> cells;
  for (const auto& [apart, runs] : sizes) cells.push_back(set_of_runs(apart, runs));
  print_cells(fmt::format("runs of {} repetitions", kOfARun), {"sets", "noise within runs", "runs a side"}, cells,
              false, options, alarms);
}

bool print_tables(const std::string& which, const Options& options) {
  Alarms alarms;
  const auto wanted = [&](std::string_view table) { return which == "all" || which == table; };
  if (wanted("warmup")) print_warmup(options);
  if (wanted("stopping")) print_stopping(options);
  if (wanted("worth")) print_worth(options);
  if (wanted("conditions")) print_conditions(options);
  if (wanted("single")) print_single(options, alarms);
  if (wanted("interleaved")) print_interleaved(options, alarms);
  if (wanted("sets")) print_sets(options, alarms);
  return alarms.conclude();
}

}  // namespace
}  // namespace mlbench::measure

int main(int argc, char** argv) {
  using namespace mlbench;
  CLI::App app("What the statistics of benchmarks say about series whose truth is known", "synthetic_verdicts");
  measure::Options options;
  std::string table = "all";
  app.add_option("--table", table, "Only this one")
      ->check(CLI::IsMember({"warmup", "stopping", "worth", "conditions", "single", "interleaved", "sets", "all"}))
      ->capture_default_str();
  CLI::Option* series = app.add_option("--series", options.series, "Series, or pairs, of each line of a table")
                            ->check(CLI::Range(Index{1}, Index{100'000}))
                            ->capture_default_str();
  app.add_option("--seed", options.seed, "Of all series")->capture_default_str();
  bool quick = false;
  app.add_flag("--quick", quick, "160 of each, slowdowns in 15 of them: for a test")->excludes(series);
  CLI11_PARSE(app, argc, argv);
  if (quick) options = {.seed = options.seed, .series = 160, .planted = 15};
  return measure::print_tables(table, options) ? 0 : 1;
}
