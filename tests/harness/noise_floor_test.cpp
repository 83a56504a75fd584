// Limits from a few random runs: no false alarm over many, and no room for a mistake.
#include "harness/noise_floor.h"

#include <algorithm>
#include <cmath>
#include <random>

#include <gmock/gmock.h>

namespace mlbench::harness {
namespace {

using Runs = std::vector<double>;

// The largest of n magnitudes that are normal: what a row's deviation is.
class Rows {
 public:
  explicit Rows(int width) : width_(width) {}
  double draw(double scale) {
    double largest = 0.0;
    for (int i = 0; i < width_; ++i) largest = std::max(largest, std::fabs(normal_(random_)));
    return scale * largest;
  }
  Runs runs(double scale) {
    Runs out(8);
    for (double& run : out) run = draw(scale);
    return out;
  }

 private:
  int width_;
  std::mt19937_64 random_{7};
  std::normal_distribution<double> normal_;
};

TEST(NoiseFloor, OfRowsThatNothingMovesIsZero) {
  NoiseFloor floor;
  const Runs still(8, 0.0);
  floor.add(Tap::embed, still);
  EXPECT_EQ(floor.limit(Tap::embed, still), 0.0);
}

TEST(NoiseFloor, LiesAboveEveryRunOfItsRow) {
  NoiseFloor floor;
  Rows rows(100);
  for (int r = 0; r < 200; ++r) {
    const Runs runs = rows.runs(1e-3);
    floor.add(Tap::q, runs);
    EXPECT_GT(floor.limit(Tap::q, runs), std::ranges::max(runs));
  }
}

TEST(NoiseFloor, LiesAboveRunsOfWhichSomeAreStill) {
  NoiseFloor floor;
  const Runs runs = {0.0, 1e-3, 0.0, 2e-3, 0.0, 0.0, 0.0, 0.0};
  floor.add(Tap::q, runs);
  EXPECT_GT(floor.limit(Tap::q, runs), 2e-3);
  const Runs one = {0.0, 1e-3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
  EXPECT_GT(floor.limit(Tap::q, one), 1e-3);
}

TEST(NoiseFloor, ScalesWithTheDeviations) {
  NoiseFloor small, large;
  Rows a(100), b(100);
  for (int r = 0; r < 100; ++r) {
    small.add(Tap::q, a.runs(1.0));
    large.add(Tap::q, b.runs(1e6));
  }
  const Runs runs = a.runs(1.0);
  Runs scaled = runs;
  for (double& run : scaled) run *= 1e6;
  EXPECT_NEAR(large.limit(Tap::q, scaled) / small.limit(Tap::q, runs), 1e6, 1.0);
}

TEST(NoiseFloor, SharesItsSpreadAmongRowsOfOneTapAlone) {
  NoiseFloor floor, other;
  Rows rows(100);
  const Runs runs = rows.runs(1.0);
  for (int r = 0; r < 100; ++r) {
    const Runs more = rows.runs(1.0);
    floor.add(Tap::q, more);
    other.add(Tap::k, more);
  }
  EXPECT_LT(floor.limit(Tap::q, runs), other.limit(Tap::q, runs)) << "what is known of keys says nothing of queries";
}

// 1e5 further runs of the rows that the limits were made from. A row of few values has a wider spread.
TEST(NoiseFloor, RaisesNoFalseAlarmInManyRuns) {
  for (const int width : {16, 200}) {
    NoiseFloor floor;
    Rows rows(width);
    int alarms = 0;
    for (int r = 0; r < 1000; ++r) {
      const double scale = std::exp(0.01 * r);  // rows need not be alike
      const Runs runs = rows.runs(scale);
      floor.add(Tap::layer_out, runs);
      const double limit = floor.limit(Tap::layer_out, runs);
      for (int more = 0; more < 100; ++more) alarms += rows.draw(scale) > limit ? 1 : 0;
    }
    EXPECT_EQ(alarms, 0) << width;
  }
}

TEST(NoiseFloor, CatchesADeviationTwentyTimesTheUsual) {
  for (const int width : {16, 200}) {
    NoiseFloor floor;
    Rows rows(width);
    for (int r = 0; r < 200; ++r) floor.add(Tap::layer_out, rows.runs(1.0));
    for (int r = 0; r < 200; ++r) {
      const Runs runs = rows.runs(1.0);
      EXPECT_LT(floor.limit(Tap::layer_out, runs), 20.0 * rows.draw(1.0)) << width;
    }
  }
}

// One row is all that a first call may have to say.
TEST(NoiseFloor, RaisesNoFalseAlarmFromItsFirstRowOn) {
  Rows rows(64);
  int alarms = 0;
  for (int r = 0; r < 5000; ++r) {
    NoiseFloor floor;
    const Runs runs = rows.runs(1.0);
    floor.add(Tap::q, runs);
    const double limit = floor.limit(Tap::q, runs);
    for (int more = 0; more < 4; ++more) alarms += rows.draw(1.0) > limit ? 1 : 0;
  }
  EXPECT_EQ(alarms, 0);
}

}  // namespace
}  // namespace mlbench::harness
