#include "bench/synthetic_rules.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "harness/measure/rules.h"
#include "harness/measure/statistics.h"

namespace mlbench::measure {
namespace {

constexpr Index kNever = 5000;

struct Course {
  std::string name;
  double (*level)(double repetition);  // at last 1
  bool spikes = false;
};

const std::vector<Course>& courses() {
  static const std::vector<Course> kAll = {
      {"flat", [](double) { return 1.0; }},
      {"5% faster over the first 40", [](double i) { return 1.05 - 0.05 * std::min(i / 40.0, 1.0); }},
      {"5% faster over the first 80", [](double i) { return 1.05 - 0.05 * std::min(i / 80.0, 1.0); }},
      {"20% slower at first, decaying over 10", [](double i) { return 1.0 + 0.2 * std::exp(-i / 10.0); }},
      {"5% slower for the first 20", [](double i) { return i < 20.0 ? 1.05 : 1.0; }},
      {"flat, every tenth three times as slow", [](double) { return 1.0; }, true},
  };
  return kAll;
}

// Repetitions until the warm-up is over.
Index settled_after(const Course& course, double noise, Dice& dice) {
  WarmUp warmup({.max_seconds = std::numeric_limits<double>::infinity()});
  Index n = 0;
  for (; n < kNever && !warmup.settled(); ++n) {
    const double time = course.level(static_cast<double>(n)) * std::exp(noise * dice.normal());
    warmup.add(course.spikes && n % 10 == 3 ? 3.0 * time : time);
  }
  return n;
}

constexpr double kConfidence = 0.95;
// As `mlbench bench` stops by default, but for its time.
const StoppingOptions kAsBench{
    .precision = 0.01, .confidence = kConfidence, .least = 20, .max_seconds = std::numeric_limits<double>::infinity()};

struct NamedNoise {
  std::string name;
  Noise noise;
};

}  // namespace

void print_warmup(const Options& options) {
  print_head(fmt::format("{} series each; repetitions until it says settled:", options.series),
             {"series", "noise", "median; 95% of series", "unsettled after 30", "after 100", "after 300",
              "settled with more than 1% to go"});
  for (const Course& course : courses()) {
    for (const double noise : {0.002, 0.01, 0.05}) {
      Dice dice(options.seed, fmt::format("warmup, {}, {}", course.name, noise));
      Times repetitions;
      std::array<Share, 3> unsettled;
      Share early;
      for (Index i = 0; i < options.series; ++i) {
        const auto n = static_cast<double>(settled_after(course, noise, dice));
        repetitions.push_back(n);
        unsettled[0].see(n > 30.0);
        unsettled[1].see(n > 100.0);
        unsettled[2].see(n > 300.0);
        early.see(course.level(n) > 1.01);
      }
      print_row({course.name, noise_text({.size = noise}), median_and_most(repetitions), percent(unsettled[0]),
                 percent(unsettled[1]), percent(unsettled[2]), with_interval(early)});
    }
  }
}

Times until_precise(const Noise& noise, Dice& dice) {
  StoppingRule rule(kAsBench);
  Run run(noise, 0, dice);
  Times out;
  while (!rule.done()) {
    out.push_back(run.next());
    rule.add(out.back());
  }
  return out;
}

void print_stopping(const Options& options) {
  const Index series = 10 * options.series;
  print_head(fmt::format("{} series each, until the half-width is 1%, at least 20 repetitions:", series),
             {"series", "noise", "repetitions: median; 95% of series", "the interval holds the median",
              "that of as many repetitions, fixed in advance"});
  const std::vector<NamedNoise> kinds = {
      {"independent", {.size = 0.01}},
      {"independent", {.size = 0.04}},
      {"independent", {.size = 0.1}},
      {"skewed, outliers", {.size = 0.04, .skewed = true}},
      {"first-order, rho 0.5", {.size = 0.04, .rho = 0.5}},
      {"first-order, rho 0.8", {.size = 0.04, .rho = 0.8}},
  };
  for (const NamedNoise& kind : kinds) {
    Dice dice(options.seed, fmt::format("stopping, {}, {}", kind.name, kind.noise.size));
    const double truth = true_median(kind.noise);
    const auto holds = [&](const Times& times) {
      const Estimate e = median_interval(times, kConfidence);
      return e.low <= truth && truth <= e.high;
    };
    Times repetitions;
    Share stopped, fixed;
    for (Index i = 0; i < series; ++i) {
      const Times times = until_precise(kind.noise, dice);
      repetitions.push_back(static_cast<double>(times.size()));
      stopped.see(holds(times));
    }
    const auto length = static_cast<Index>(median(repetitions));
    for (Index i = 0; i < series; ++i) fixed.see(holds(run_of(kind.noise, length, dice)));
    print_row({kind.name, noise_text(kind.noise), median_and_most(repetitions), with_interval(stopped),
               with_interval(fixed)});
  }
}

void print_worth(const Options& options) {
  print_head(fmt::format("{} series each:", options.series),
             {"series", "samples", "truly worth", "found: median; 5% to 95% of series"});
  for (const double rho : {0.0, 0.8, 0.95}) {
    for (const Index n : {6, 20, 50, 200}) {
      const std::string name = rho > 0.0 ? fmt::format("first-order, rho {:g}", rho) : "independent";
      Dice dice(options.seed, fmt::format("worth, {}, {}", name, n));
      Times found;
      for (Index i = 0; i < options.series; ++i)
        found.push_back(effective_samples(run_of({.size = 0.04, .rho = rho}, n, dice)));
      const double truth = std::max(1.0, static_cast<double>(n) * (1.0 - rho) / (1.0 + rho));
      print_row({name, fmt::format("{}", n), fmt::format("{:.3g}", truth),
                 fmt::format("{:.3g}; {:.3g} to {:.3g}", median(found), quantile(found, 0.05), quantile(found, 0.95))});
    }
  }
}

}  // namespace mlbench::measure
