// How repetitions are spread over points and contenders, with contenders whose times are made up.
#include "harness/measure/measure.h"

#include <algorithm>

#include <gmock/gmock.h>

#include "core/error.h"
#include "core/hash.h"

namespace mlbench::measure {
namespace {

using backends::Method;

// Times with a little noise around one second for each point; the log says in which order points were run.
class MadeUp : public Contender {
 public:
  explicit MadeUp(std::vector<std::size_t>* log = nullptr) : log_(log) {}
  std::vector<TimedMethod> repeat(std::size_t point) override {
    if (log_ != nullptr) log_->push_back(point);
    if (point == breaks_at_) throw Error(ErrorKind::internal, "backend.failed", "it broke");
    const double noise = static_cast<double>(scattered(7, runs_) % 1000U) * 1e-6;
    const double cold = runs_ < cold_runs_ ? static_cast<double>(cold_runs_ - runs_) : 0.0;
    ++runs_;
    TimedMethod prefill, decode;
    prefill.seconds = 1e-3 * (1.0 + noise + cold);
    decode.seconds = 2e-3 * (1.0 + noise + cold);
    decode.steps = {1e-3, 1e-3 * (1.0 + 2.0 * noise)};
    prefill.joules = decode.joules = 0.5;
    return {prefill, decode};
  }
  std::vector<Verified> check(std::size_t) override {
    return {{BenchCheck::passed, 0.25, "all"}, {BenchCheck::failed, 3.0, "one strays"}};
  }
  std::uint64_t peak_memory() override { return 1234; }
  void release() override { ++releases_; }

  void break_at(std::size_t point) { breaks_at_ = point; }
  // Its first runs take longer, each by less than the one before.
  void begin_cold(std::uint64_t runs) { cold_runs_ = runs; }
  [[nodiscard]] int releases() const { return releases_; }

 private:
  std::vector<std::size_t>* log_;
  std::size_t breaks_at_ = 99;
  std::uint64_t runs_ = 0, cold_runs_ = 0;
  int releases_ = 0;
};

std::vector<PointPlan> plans(Index count) {
  std::vector<PointPlan> out;
  for (Index i = 0; i < count; ++i) {
    PointPlan plan;
    plan.point.model = "m";
    plan.point.prompt = 10 + i;
    plan.point.gen = 2;
    plan.methods = {Method::prefill, Method::decode};
    out.push_back(plan);
  }
  return out;
}

std::vector<BenchRow> run(MadeUp& contender, const std::vector<PointPlan>& points, const MeasureOptions& options = {}) {
  Contender* const all[] = {&contender};
  std::vector<std::size_t> group;
  for (std::size_t i = 0; i < points.size(); ++i) group.push_back(i);
  return measure(all, points, {group}, options).front();
}

TEST(Measure, GivesARowForEveryMethodOfEveryPointInOrder) {
  MadeUp contender;
  const std::vector<BenchRow> rows = run(contender, plans(3));
  ASSERT_EQ(rows.size(), 6U);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const BenchRow& row = rows[i];
    EXPECT_EQ(row.point.prompt, 10 + static_cast<Index>(i / 2));
    EXPECT_EQ(row.method, i % 2 == 0 ? "prefill" : "decode");
    EXPECT_EQ(row.decode, i % 2 == 1);
    EXPECT_GE(row.samples.size(), 5U);
    EXPECT_EQ(row.started.size(), row.samples.size());
    EXPECT_EQ(row.steps.size(), row.decode ? row.samples.size() : 0U);
    EXPECT_GT(row.warmup_repetitions, 0);
    EXPECT_TRUE(row.steady);
    EXPECT_EQ(row.stop, BenchStop::precision);
    EXPECT_EQ(row.check, i % 2 == 0 ? BenchCheck::passed : BenchCheck::failed);
    EXPECT_EQ(row.peak_memory_bytes, 1234U);
    ASSERT_TRUE(row.joules_per_token);
    const double tokens = row.decode ? 2.0 : static_cast<double>(row.point.prompt);
    EXPECT_DOUBLE_EQ(*row.joules_per_token, 0.5 / tokens);
  }
  EXPECT_EQ(contender.releases(), 1);
}

TEST(Measure, InterleavesPointsInAnOrderThatTheSeedGives) {
  std::vector<std::size_t> first, again, other;
  MadeUp a(&first), b(&again), c(&other);
  MeasureOptions options;
  (void)run(a, plans(4), options);
  (void)run(b, plans(4), options);
  options.seed = 2;
  (void)run(c, plans(4), options);
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
  // In each of the first rounds, every point once.
  for (std::size_t round = 0; round < 5; ++round) {
    std::vector<std::size_t> of_round(first.begin() + static_cast<std::ptrdiff_t>(4 * round),
                                      first.begin() + static_cast<std::ptrdiff_t>(4 * round + 4));
    EXPECT_THAT(of_round, ::testing::UnorderedElementsAre(0U, 1U, 2U, 3U));
  }
}

TEST(Measure, EndsWhenTheTimeIsSpent) {
  MadeUp contender;
  MeasureOptions options;
  options.precision = 1e-9;
  options.max_time = 0.05;
  for (const BenchRow& row : run(contender, plans(1), options)) EXPECT_EQ(row.stop, BenchStop::max_time);
}

TEST(Measure, APointThatBreaksIsAnErrorOfItsOwnRows) {
  MadeUp contender;
  contender.break_at(1);
  const std::vector<BenchRow> rows = run(contender, plans(3));
  ASSERT_EQ(rows.size(), 6U);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].error, i / 2 == 1 ? "backend.failed: it broke" : "");
    EXPECT_EQ(rows[i].samples.empty(), i / 2 == 1);
  }
}

TEST(Measure, WhatIsInterruptedIsKeptAndNotChecked) {
  MadeUp contender;
  MeasureOptions options;
  options.precision = 1e-9;  // for ever
  options.max_time = 1e9;
  int asked = 0;
  options.interrupted = [&] { return ++asked > 100; };
  const std::vector<BenchRow> rows = run(contender, plans(2), options);
  ASSERT_EQ(rows.size(), 4U);
  for (const BenchRow& row : rows) {
    EXPECT_EQ(row.stop, BenchStop::interrupted);
    EXPECT_EQ(row.check, BenchCheck::unchecked);
    EXPECT_FALSE(row.samples.empty());
  }
}

TEST(Measure, PointsThatWereNotReachedAreMissing) {
  MadeUp contender;
  MeasureOptions options;
  options.interrupted = [] { return true; };
  EXPECT_TRUE(run(contender, plans(2), options).empty());
}

TEST(Measure, ContendersRunEveryRepetitionSideBySide) {
  std::vector<std::size_t> log;
  MadeUp a(&log), b;
  Contender* const both[] = {&a, &b};
  const std::vector<PointPlan> points = plans(2);
  const auto rows = measure(both, points, {{0, 1}}, {});
  ASSERT_EQ(rows.size(), 2U);
  ASSERT_EQ(rows[0].size(), rows[1].size());
  for (std::size_t i = 0; i < rows[0].size(); ++i) EXPECT_EQ(rows[0][i].samples.size(), rows[1][i].samples.size()) << i;
}

TEST(Measure, ContendersThatSettleApartStillPairUp) {
  MadeUp quick, slow;
  slow.begin_cold(30);
  Contender* const both[] = {&quick, &slow};
  const std::vector<PointPlan> points = plans(1);
  const auto rows = measure(both, points, {{0}}, {});
  ASSERT_EQ(rows[0].size(), 2U);
  for (std::size_t i = 0; i < rows[0].size(); ++i) {
    const BenchRow &a = rows[0][i], &b = rows[1][i];
    EXPECT_EQ(a.warmup_repetitions, b.warmup_repetitions);
    EXPECT_GT(a.warmup_repetitions, 30);
    EXPECT_EQ(a.samples.size(), b.samples.size());
    EXPECT_TRUE(a.steady && b.steady);
    // Nothing of the cold start is a sample.
    EXPECT_LT(*std::ranges::max_element(b.samples), 1.5 * b.samples.front());
  }
}

TEST(Measure, WithoutACheckRowsSaySo) {
  MadeUp contender;
  MeasureOptions options;
  options.check = false;
  for (const BenchRow& row : run(contender, plans(1), options)) EXPECT_EQ(row.check, BenchCheck::unchecked);
}

TEST(Measure, GroupsFollowEachOther) {
  std::vector<std::size_t> log;
  MadeUp contender(&log);
  Contender* const all[] = {&contender};
  const std::vector<PointPlan> points = plans(3);
  EXPECT_EQ(measure(all, points, {{2}, {0, 1}}, {}).front().size(), 6U);
  const auto first_of_second = std::ranges::find_if(log, [](std::size_t point) { return point != 2; });
  EXPECT_EQ(std::find(first_of_second, log.end(), 2U), log.end());
  EXPECT_EQ(contender.releases(), 2);
}

}  // namespace
}  // namespace mlbench::measure
