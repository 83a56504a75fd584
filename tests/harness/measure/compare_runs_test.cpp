// Synthetic runs: how often the comparison is wrong, how often it finds what is there, and what it refuses to compare.
#include "harness/measure/compare_runs.h"

#include <cmath>
#include <functional>

#include <gmock/gmock.h>

#include "core/error.h"
#include "tests/harness/measure/noise.h"

namespace mlbench::measure {
namespace {

using test::Noise;
using test::scaled;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using Series = std::vector<double>;

BenchRow row_of(Series samples, Index prompt = 16) {
  BenchRow row;
  row.point.model = "tiny";
  row.point.backend = "cpu";
  row.point.device = "0";
  row.point.prompt = prompt;
  row.method = "decode";
  row.check = BenchCheck::passed;
  row.samples = std::move(samples);
  return row;
}

BenchRun run_of(Series samples) {
  BenchRun run;
  run.environment.facts = {{"cpu", "model A"}, {"driver", "1.0"}, {"mlbench commit", "aaaa"}};
  run.rows.push_back(row_of(std::move(samples)));
  return run;
}

BenchComparison compare(const BenchRun& base, const BenchRun& next, const CompareOptions& options = {}) {
  return compare_runs({&base, 1}, {&next, 1}, options);
}

Difference answer(const Series& base, const Series& next, const CompareOptions& options = {}) {
  return compare(run_of(base), run_of(next), options).rows.front().difference;
}

struct Answers {
  int same = 0, faster = 0, slower = 0, undecided = 0;
  void count(Difference d) {
    ++(d == Difference::same ? same : d == Difference::faster ? faster : d == Difference::slower ? slower : undecided);
  }
  [[nodiscard]] int alarms() const { return faster + slower; }
};

// Pairs of runs of which the second is `by` times as slow.
Answers answers(int pairs, double by, const std::function<Series(Noise&)>& make) {
  Noise noise(static_cast<std::uint64_t>(pairs));
  Answers out;
  for (int i = 0; i < pairs; ++i) {
    const Series base = make(noise);
    out.count(answer(base, scaled(make(noise), by), {.seed = static_cast<std::uint64_t>(i)}));
  }
  return out;
}

// At most 1% of pairs.
TEST(CompareRuns, SeldomFindsADifferenceWhereThereIsNone) {
  for (const int n : {10, 50}) {
    for (const double noise : {0.01, 0.05}) {
      EXPECT_LE(answers(300, 1.0, [&](Noise& r) { return r.times(n, noise); }).alarms(), 3) << n << " " << noise;
    }
  }
}

// Mann and Whitney's test alone calls 12% and 38% of such pairs different.
TEST(CompareRuns, SeldomFindsADifferenceInSeriesThatDependOnThemselves) {
  for (const double rho : {0.5, 0.8}) {
    for (const int n : {30, 100}) {
      EXPECT_LE(answers(300, 1.0, [&](Noise& r) { return r.times(n, 0.04, rho); }).alarms(), 3) << n << " " << rho;
    }
  }
}

// One run drifts up by 2.5% while the other goes down: their medians differ by 2.5%, and that is the drift's.
TEST(CompareRuns, DoesNotTakeADriftForADifference) {
  Noise noise(1);
  Answers found;
  for (int i = 0; i < 200; ++i) {
    Series up = noise.times(60, 0.01), down = noise.times(60, 0.01);
    for (std::size_t t = 0; t < up.size(); ++t) {
      up[t] *= 1.0 + 0.05 * static_cast<double>(t) / 60.0;
      down[t] *= 1.0 - 0.05 * static_cast<double>(t) / 60.0;
    }
    found.count(answer(down, up));
  }
  EXPECT_LE(found.alarms(), 2);
}

TEST(CompareRuns, FindsWhatIsSlowerOrFaster) {
  const auto make = [](Noise& r) { return r.times(30, 0.01); };
  EXPECT_GE(answers(100, 1.05, make).slower, 95);
  EXPECT_GE(answers(100, 0.95, make).faster, 95);
  EXPECT_GE(answers(100, 1.1, [](Noise& r) { return r.times(50, 0.04); }).slower, 95);
  EXPECT_GE(answers(100, 1.05, [](Noise& r) { return r.times(200, 0.01, 0.8); }).slower, 95);
}

TEST(CompareRuns, SaysSameWhereTheIntervalLiesInsideOfTheFloor) {
  const auto make = [](Noise& r) { return r.times(50, 0.01); };
  EXPECT_GE(answers(100, 1.0, make).same, 95);
  EXPECT_GE(answers(100, 1.005, make).same, 90) << "a change that does not matter";
}

TEST(CompareRuns, IsUndecidedAtTheFloorItself) {
  EXPECT_GE(answers(100, 1.02, [](Noise& r) { return r.times(30, 0.01); }).undecided, 90);
}

TEST(CompareRuns, OfARunWithItselfIsSame) {
  const BenchRun run = run_of(Noise(2).times(40, 0.01));
  const BenchComparison comparison = compare(run, run);
  const ComparedRow& row = comparison.rows.at(0);
  EXPECT_EQ(row.difference, Difference::same);
  EXPECT_EQ(row.ratio.value, 1.0);
  EXPECT_EQ(row.p_value, 1.0);
  EXPECT_EQ(row.base_samples, 40);
  EXPECT_EQ(comparison.floor, 0.02);
  EXPECT_EQ(comparison.confidence, 0.95);
  EXPECT_THAT(comparison.warnings, IsEmpty());
}

TEST(CompareRuns, GivesTheSameAnswerAgainAndTheOppositeInReverse) {
  Noise noise(3);
  const BenchRun a = run_of(noise.times(30, 0.02)), b = run_of(scaled(noise.times(30, 0.02), 1.1));
  const ComparedRow once = compare(a, b).rows.at(0), again = compare(a, b).rows.at(0), back = compare(b, a).rows.at(0);
  EXPECT_EQ(once.ratio.low, again.ratio.low);
  EXPECT_EQ(once.difference, Difference::slower);
  EXPECT_EQ(back.difference, Difference::faster);
  EXPECT_EQ(once.p_value, back.p_value);
}

TEST(CompareRuns, IsUndecidedWithTwoSamplesHoweverClear) {
  EXPECT_EQ(answer({1.0, 1.0}, {2.0, 2.0}), Difference::undecided);
  EXPECT_EQ(answer({1.0}, {1.0}), Difference::undecided);
}

// With so many samples as it asks for, it decides in most cases.
TEST(CompareRuns, ForeseesHowManySamplesWouldDecide) {
  for (const double by : {1.0, 1.06}) {
    Noise noise(4);
    int undecided = 0, decided = 0;
    for (int i = 0; i < 60; ++i) {
      const Series base = noise.times(15, 0.03), next = scaled(noise.times(15, 0.03), by);
      const ComparedRow row = compare(run_of(base), run_of(next)).rows.at(0);
      if (row.difference != Difference::undecided || row.samples_to_decide == 0) continue;
      EXPECT_GT(row.samples_to_decide, 15);
      ++undecided;
      const int n = static_cast<int>(std::min<Index>(2 * row.samples_to_decide, 1000));
      decided += answer(noise.times(n, 0.03), scaled(noise.times(n, 0.03), by)) != Difference::undecided ? 1 : 0;
    }
    EXPECT_GE(undecided, 20) << by;
    EXPECT_GE(decided * 10, undecided * 6) << by;
  }
}

// Ranks of three cannot be more unlikely than 1 in 10: below 0.01 they come with 5, 2 / C(10, 5) = 0.008.
TEST(CompareRuns, AsksForAsManyRunsAsRanksNeed) {
  std::vector<BenchRun> base, next;
  for (int i = 0; i < 3; ++i) {
    base.push_back(run_of(Series(8, 1.0 + 0.0001 * i)));
    next.push_back(run_of(Series(8, 1.1 + 0.0001 * i)));
  }
  const ComparedRow row = compare_runs(base, next, {}).rows.at(0);
  EXPECT_EQ(row.difference, Difference::undecided);
  EXPECT_GE(row.samples_to_decide, 5);
}

// Runs that lie 2% apart from one another, with next to no noise inside: the truth that single runs cannot see.
TEST(CompareRuns, CountsRunsNotRepetitionsWhereThereAreThreeOfEachSide) {
  Noise noise(5);
  Answers same, slower;
  for (int i = 0; i < 100; ++i) {
    std::vector<BenchRun> base, next, slow;
    for (int run = 0; run < 6; ++run) {
      base.push_back(run_of(scaled(noise.times(20, 0.001), std::exp(0.02 * noise.normal()))));
      const Series other = scaled(noise.times(20, 0.001), std::exp(0.02 * noise.normal()));
      next.push_back(run_of(other));
      slow.push_back(run_of(scaled(other, 1.1)));
    }
    same.count(compare_runs(base, next, {}).rows.at(0).difference);
    const ComparedRow row = compare_runs(base, slow, {}).rows.at(0);
    slower.count(row.difference);
    EXPECT_EQ(row.base_samples, 6);
  }
  EXPECT_LE(same.alarms(), 1);
  EXPECT_GE(slower.slower, 90);
}

// Two runs of a side at different levels: pooled, they are a series with a step, and worth little.
TEST(CompareRuns, OfTwoRunsThatDisagreeIsUndecided) {
  Noise noise(6);
  const std::vector<BenchRun> base = {run_of(noise.times(20, 0.002)), run_of(scaled(noise.times(20, 0.002), 1.05))};
  const std::vector<BenchRun> next = {run_of(scaled(noise.times(20, 0.002), 1.05)),
                                      run_of(scaled(noise.times(20, 0.002), 1.08))};
  const ComparedRow row = compare_runs(base, next, {}).rows.at(0);
  EXPECT_EQ(row.base_samples, 40);
  EXPECT_EQ(row.difference, Difference::undecided);
}

// Single runs 1% apart: 7% of pairs are called different, unless it is known that runs differ so much.
TEST(CompareRuns, AllowsForWhatIsKnownOfRunsOfOneBuild) {
  Noise noise(7);
  Answers unknowing, knowing, slower;
  for (int i = 0; i < 200; ++i) {
    const Series base = scaled(noise.times(40, 0.005), std::exp(0.01 * noise.normal()));
    const Series next = scaled(noise.times(40, 0.005), std::exp(0.01 * noise.normal()));
    unknowing.count(answer(base, next));
    knowing.count(answer(base, next, {.between_runs = 0.01}));
    slower.count(answer(base, scaled(next, 1.15), {.between_runs = 0.01}));
  }
  EXPECT_GT(unknowing.alarms(), 4);
  EXPECT_LE(knowing.alarms(), 2);
  EXPECT_GE(slower.slower, 190);
}

// A drift that both sides share by 20%, against noise of 1%.
TEST(CompareRuns, OfInterleavedRunsIsBlindToCommonDrift) {
  Noise noise(8);
  Answers equal, slower, unpaired;
  for (int i = 0; i < 100; ++i) {
    Series base = noise.times(60, 0.01), next = noise.times(60, 0.01);
    const Series common = noise.times(60, 0.1, 0.95);
    for (std::size_t t = 0; t < base.size(); ++t) {
      base[t] *= common[t];
      next[t] *= common[t];
    }
    equal.count(answer(base, next, {.paired = true}));
    slower.count(answer(base, scaled(next, 1.05), {.paired = true}));
    unpaired.count(answer(base, scaled(next, 1.05)));
  }
  EXPECT_LE(equal.alarms(), 1);
  EXPECT_GE(equal.same, 90);
  EXPECT_GE(slower.slower, 95);
  EXPECT_LE(unpaired.slower, 20) << "the pairing is what finds it";
}

TEST(CompareRuns, PairsAsManyAsBothSidesHave) {
  Noise noise(9);
  const Series base = noise.times(30, 0.01);
  Series next = base;
  next.resize(28);
  const BenchComparison comparison = compare(run_of(base), run_of(next), {.paired = true});
  EXPECT_EQ(comparison.rows.at(0).base_samples, 28);
  EXPECT_EQ(comparison.rows.at(0).ratio.value, 1.0);
  EXPECT_THAT(comparison.warnings, ElementsAre(HasSubstr("left out: 1")));
}

// Each process is faster or slower as a whole: hundreds of its repetitions tell no more of another process than one.
TEST(CompareRuns, OfInterleavedRunsTakesEachAsOnePair) {
  Noise noise(11);
  Answers one, many, slower;
  for (int trial = 0; trial < 100; ++trial) {
    std::vector<BenchRun> base, next;
    for (int run = 0; run < 10; ++run) {
      base.push_back(run_of(scaled(noise.times(50, 0.01), std::exp(0.02 * noise.normal()))));
      next.push_back(run_of(scaled(noise.times(50, 0.01), std::exp(0.02 * noise.normal()))));
    }
    std::vector<BenchRun> slow = next;
    for (BenchRun& run : slow) run.rows[0].samples = scaled(run.rows[0].samples, 1.1);
    const CompareOptions paired{.paired = true};
    one.count(compare(base[0], next[0], paired).rows[0].difference);
    many.count(compare_runs(base, next, paired).rows[0].difference);
    slower.count(compare_runs(base, slow, paired).rows[0].difference);
  }
  EXPECT_GE(one.alarms(), 10);
  EXPECT_LE(many.alarms(), 2);
  EXPECT_GE(slower.slower, 90);
}

TEST(CompareRuns, OfFewPairsIsUndecidedAndAsksForMore) {
  const ComparedRow row =
      compare(run_of({1.0, 1.1, 1.2, 1.0}), run_of({1.1, 1.2, 1.3, 1.2}), {.paired = true}).rows.at(0);
  EXPECT_EQ(row.difference, Difference::undecided);
  EXPECT_GE(row.samples_to_decide, 8) << "2 / 2^8 is the first below 0.01";
}

// 20 rows without a difference and one with: p is multiplied by the number of rows that are still to be compared.
TEST(CompareRuns, CorrectsForTheNumberOfRows) {
  Noise noise(10);
  BenchRun base, next;
  for (Index i = 0; i < 21; ++i) {
    const Series samples = noise.times(30, 0.01);
    base.rows.push_back(row_of(samples, i + 1));
    next.rows.push_back(row_of(i == 7 ? scaled(noise.times(30, 0.01), 1.06) : samples, i + 1));
  }
  BenchRun base_alone, next_alone;
  base_alone.rows = {base.rows[7]};
  next_alone.rows = {next.rows[7]};
  const BenchComparison all = compare(base, next);
  const ComparedRow alone = compare(base_alone, next_alone).rows.at(0);
  EXPECT_DOUBLE_EQ(all.rows[7].p_value, 21.0 * alone.p_value);
  EXPECT_EQ(all.rows[7].difference, Difference::slower);
  EXPECT_FALSE(all.any(Difference::faster));
}

TEST(CompareRuns, ListsRowsThatOneSideLacks) {
  BenchRun base = run_of({1, 1, 1, 1, 1, 1}), next = base;
  base.rows.push_back(row_of({1.0}, 32));
  next.rows.push_back(row_of({1.0}, 64));
  const BenchComparison comparison = compare(base, next);
  EXPECT_EQ(comparison.rows.size(), 1U);
  EXPECT_THAT(comparison.only_base, ElementsAre(HasSubstr("prompt 32")));
  EXPECT_THAT(comparison.only_new, ElementsAre(HasSubstr("prompt 64")));
}

TEST(CompareRuns, DoesNotCompareWhatIsNoMeasurement) {
  const Series times(10, 1.0);
  const auto reason = [&](const std::function<void(BenchRow&)>& change) {
    const BenchRun base = run_of(times);
    BenchRun next = base;
    change(next.rows[0]);
    const BenchComparison comparison = compare(base, next, {.force = true});
    EXPECT_FALSE(comparison.any(Difference::same));
    return comparison.rows.at(0).not_compared;
  };
  EXPECT_THAT(reason([](BenchRow& r) { r.check = BenchCheck::failed; }), StartsWith("new: its outputs are wrong"));
  EXPECT_THAT(reason([](BenchRow& r) { r.check = BenchCheck::implausible; }), HasSubstr("implausible"));
  EXPECT_THAT(reason([](BenchRow& r) { r.unsupported = "no bf16"; }), "new: unsupported: no bf16");
  EXPECT_THAT(reason([](BenchRow& r) { r.error = "backend.failed: out"; }), "new: backend.failed: out");
  EXPECT_THAT(reason([](BenchRow& r) { r.samples.clear(); }), "new: no samples");
  EXPECT_THAT(reason([](BenchRow& r) { r.samples[3] = 0.0; }), "new: 0 s is no time");
  EXPECT_THAT(reason([](BenchRow& r) { r.samples[3] = NAN; }), "new: nan s is no time");
}

TEST(CompareRuns, WarnsOfWhatWasNotCheckedOrNotWarm) {
  const BenchRun base = run_of(Series(10, 1.0));
  BenchRun next = base;
  next.rows[0].check = BenchCheck::unchecked;
  next.rows[0].steady = false;
  const BenchComparison comparison = compare(base, next);
  EXPECT_EQ(comparison.rows.at(0).difference, Difference::same);
  EXPECT_THAT(comparison.warnings, ElementsAre(HasSubstr("not checked: 1"), HasSubstr("not settled: 1")));
}

TEST(CompareRuns, DoesNotCompareAcrossMachinesUnlessForced) {
  const BenchRun base = run_of(Series(10, 1.0));
  BenchRun next = base;
  next.environment.facts[1].second = "2.0";
  const std::string reason = R"(driver differs: "1.0" and "2.0")";
  EXPECT_EQ(compare(base, next).rows.at(0).not_compared, reason);
  const BenchComparison forced = compare(base, next, {.force = true});
  EXPECT_EQ(forced.rows.at(0).not_compared, "");
  EXPECT_THAT(forced.warnings, ElementsAre("compared although the " + reason));
}

TEST(CompareRuns, ComparesTwoBuildsAndWhatIsNotKnown) {
  const BenchRun base = run_of(Series(10, 1.0));
  BenchRun next = base;
  next.environment.facts = {{"mlbench commit", "bbbb"}, {"driver", ""}};
  EXPECT_EQ(compare(base, next).rows.at(0).not_compared, "");
}

TEST(CompareRuns, MatchesAnotherDeviceOrBackendOnlyWhenForced) {
  const BenchRun base = run_of(Series(10, 1.0));
  BenchRun device = base, backend = base;
  device.rows[0].point.device = "1";
  backend.rows[0].point.backend = "other";
  EXPECT_EQ(compare(base, device).rows.at(0).not_compared, R"(device differs: "0" and "1")");
  EXPECT_EQ(compare(base, backend).rows.at(0).not_compared, R"(backend differs: "cpu" and "other")");
  EXPECT_EQ(compare(base, device, {.force = true}).rows.at(0).difference, Difference::same);
  // Which of two would be meant?
  device.rows.push_back(device.rows[0]);
  device.rows[1].point.device = "2";
  const BenchComparison ambiguous = compare(base, device, {.force = true});
  EXPECT_THAT(ambiguous.rows, IsEmpty());
  EXPECT_EQ(ambiguous.only_base.size(), 1U);
  EXPECT_EQ(ambiguous.only_new.size(), 2U);
}

TEST(CompareRuns, RefusesOptionsThatMakeNoSense) {
  const BenchRun run = run_of(Series(10, 1.0));
  const std::vector<BenchRun> two = {run, run};
  const auto message = [&](std::span<const BenchRun> base, const CompareOptions& options) -> std::string {
    try {
      (void)compare_runs(base, {&run, 1}, options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), "usage");
      return error.message();
    }
    return "";
  };
  EXPECT_THAT(message({}, {}), HasSubstr("at least one run"));
  EXPECT_THAT(message({&run, 1}, {.confidence = 1.5}), HasSubstr("confidence 1.5"));
  EXPECT_THAT(message({&run, 1}, {.floor = -0.1}), HasSubstr("floor -0.1"));
  EXPECT_THAT(message({&run, 1}, {.family_error = 0.0}), HasSubstr("error 0"));
  EXPECT_THAT(message({&run, 1}, {.between_runs = -1.0}), HasSubstr("between-runs -1"));
  EXPECT_THAT(message(two, {.paired = true}), HasSubstr("got 2 and 1"));
}

}  // namespace
}  // namespace mlbench::measure
