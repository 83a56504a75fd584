// Two files against each other.
#include "golden/golden_diff.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>

#include "tests/golden/example_golden.h"
#include "tests/support/expect_error.h"
#include "tests/support/hdf5_edit.h"
#include "tests/support/temp_dir.h"

namespace mlbench::golden {
namespace {

using test::TempDir;
using test::write_dataset;
using Reals = std::vector<double>;
using Integers = std::vector<std::int64_t>;
using ::testing::ElementsAre;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

class GoldenDiffTest : public ::testing::Test {
 protected:
  [[nodiscard]] GoldenDiff diff(std::optional<double> rtol = std::nullopt) const {
    GoldenFile one(a_), two(b_);
    return diff_goldens(one, two, rtol);
  }

  // Of one dataset with these values in both.
  [[nodiscard]] DatasetDiff diff_of(const Reals& in_a, const Reals& in_b, std::optional<double> rtol) const {
    const TempDir dir;
    write_dataset(dir / "a.h5", "/x", {std::ssize(in_a)}, in_a);
    write_dataset(dir / "b.h5", "/x", {std::ssize(in_b)}, in_b);
    GoldenFile one(dir / "a.h5"), two(dir / "b.h5");
    return diff_goldens(one, two, rtol).datasets.at(0);
  }

  TempDir dir_;
  std::string a_ = dir_ / "a.h5", b_ = dir_ / "b.h5";
};

TEST_F(GoldenDiffTest, OfEqualGoldensOfBothLayoutsIsEmpty) {
  test::write_example_golden(a_);
  test::write_example_golden(b_);
  EXPECT_TRUE(diff().equal());
  EXPECT_TRUE(diff().attributes.empty());
  EXPECT_EQ(diff().count(Difference::none), 9U);
  const std::string data = std::string(MLBENCH_TEST_DATA) + "/schedules-phi/oracle.h5";
  GoldenFile one(data), two(data);
  EXPECT_TRUE(diff_goldens(one, two, std::nullopt).equal());
}

TEST_F(GoldenDiffTest, MeasuresAgainstTheLargestValueOfA) {
  const DatasetDiff diff = diff_of({1.0, -4.0, 2.0}, {1.0, -4.0, 2.5}, std::nullopt);
  EXPECT_EQ(diff.difference, Difference::values);
  EXPECT_EQ(diff.max_difference, 0.5);
  EXPECT_EQ(diff.max_a, 4.0);
  EXPECT_EQ(diff.relative(), 0.125);
  EXPECT_EQ(diff_of({0.0}, {0.25}, std::nullopt).relative(), 0.25);  // A all zero: absolute
}

TEST_F(GoldenDiffTest, LetsValuesStrayWithinRtolAndNoFurther) {
  EXPECT_EQ(diff_of({1.0, -4.0}, {1.5, -4.0}, 0.125).difference, Difference::within);
  EXPECT_EQ(diff_of({1.0, -4.0}, {1.5, -4.0}, 0.124).difference, Difference::values);
  EXPECT_EQ(diff_of({1.0, -4.0}, {1.0, -4.0}, 0.0).difference, Difference::none);
}

TEST_F(GoldenDiffTest, TellsBitsApart) {
  EXPECT_EQ(diff_of({0.0}, {-0.0}, std::nullopt).difference, Difference::values);
  EXPECT_EQ(diff_of({0.0}, {-0.0}, 0.0).difference, Difference::within);
  EXPECT_EQ(diff_of({kNan, kInfinity}, {kNan, kInfinity}, std::nullopt).difference, Difference::none);
  EXPECT_EQ(diff_of({1.0}, {std::nextafter(1.0, 2.0)}, std::nullopt).difference, Difference::values);
}

// Infinity over infinity, or a NaN, must not read as a small difference.
TEST_F(GoldenDiffTest, LetsNoOtherValuePassForOneThatIsNotFinite) {
  const std::pair<Reals, Reals> cases[] = {{{kNan, 1.0}, {2.0, 1.0}},
                                           {{2.0, 1.0}, {kNan, 1.0}},
                                           {{kInfinity, 1.0}, {2.0, 1.0}},
                                           {{2.0, 1.0}, {kInfinity, 1.0}},
                                           {{kInfinity, 1.0}, {-kInfinity, 1.0}},
                                           {{kInfinity, 1.0}, {kInfinity, 2.0}}};
  for (const auto& [in_a, in_b] : cases) EXPECT_EQ(diff_of(in_a, in_b, 0.5).difference, Difference::values);
  EXPECT_EQ(diff_of({kNan}, {-kNan}, 0.5).difference, Difference::values);
}

TEST_F(GoldenDiffTest, LetsNoIntegerStray) {
  write_dataset(a_, "/inputs/ids", {2}, Integers{1000000, 3});
  write_dataset(b_, "/inputs/ids", {2}, Integers{1000001, 3});
  EXPECT_FALSE(diff(0.5).equal());
  EXPECT_EQ(diff(0.5).datasets[0].max_difference, 1.0);
}

TEST_F(GoldenDiffTest, ListsTheWorstFirst) {
  write_dataset(a_, "/equal", {1}, Reals{1.0});
  write_dataset(b_, "/equal", {1}, Reals{1.0});
  write_dataset(a_, "/small", {1}, Reals{1.0});
  write_dataset(b_, "/small", {1}, Reals{1.25});
  write_dataset(a_, "/within", {1}, Reals{1.0});
  write_dataset(b_, "/within", {1}, Reals{1.001});
  write_dataset(a_, "/large", {1}, Reals{1.0});
  write_dataset(b_, "/large", {1}, Reals{9.0});
  write_dataset(a_, "/shape", {2}, Reals{1.0, 2.0});
  write_dataset(b_, "/shape", {2, 1}, Reals{1.0, 2.0});
  write_dataset(a_, "/kind", {1}, Reals{1.0});
  write_dataset(b_, "/kind", {1}, Integers{1});
  write_dataset(a_, "/old", {1}, Reals{1.0});
  write_dataset(b_, "/new", {3}, Reals(3));
  const GoldenDiff found = diff(0.01);
  EXPECT_FALSE(found.equal());
  std::vector<std::string> lines;
  for (const DatasetDiff& d : found.datasets) lines.push_back(d.path + ' ' + std::string(name(d.difference)));
  EXPECT_THAT(lines, ElementsAre("/new only in B", "/old only in A", "/shape shape", "/kind kind", "/large values",
                                 "/small values", "/within within", "/equal equal"));
  EXPECT_EQ(found.datasets[0].shape_b, (Shape{3}));
  EXPECT_TRUE(found.datasets[0].shape_a.empty());
}

TEST_F(GoldenDiffTest, CallsLinksNothingThatIsEqual) {
  for (const std::string& file : {a_, b_}) {
    write_dataset(file, "/x", {1}, Reals{1.0});
    test::add_soft_link(file, "/x", "/soft");
  }
  EXPECT_EQ(diff().datasets[0].path, "/soft");
  EXPECT_EQ(diff().datasets[0].difference, Difference::kind);
}

TEST_F(GoldenDiffTest, ComparesValuesUnderSeveralNamesByEachName) {
  for (const std::string& file : {a_, b_}) {
    write_dataset(file, "/x", {1}, Reals{1.0});
    test::add_hard_link(file, "/x", "/again");
  }
  write_dataset(a_, "/third", {1}, Reals{1.0});
  write_dataset(b_, "/third", {1}, Reals{2.0});
  test::add_to_element(b_, "/x", 0, 1.0);
  const GoldenDiff found = diff();
  EXPECT_EQ(found.count(Difference::values), 3U);
}

TEST_F(GoldenDiffTest, ListsAttributesThatDifferButDigests) {
  test::write_example_golden(a_);
  test::write_example_golden(b_);
  test::set_attribute_of(b_, "/", "dtype", "f16");
  test::remove_attribute(b_, "plan");
  test::set_attribute_of(b_, "/steps/001", "label", "other");
  test::set_attribute_of(b_, "/steps/000/taps/embed", "unit", "m");
  test::set_attribute_of(b_, "/steps/000/taps/embed", "digest", "0");
  const GoldenDiff found = diff();
  EXPECT_TRUE(found.equal());
  std::vector<std::string> lines;
  for (const AttributeDiff& d : found.attributes)
    lines.push_back(d.object + '@' + d.name + ' ' + d.a.value_or("-") + ' ' + d.b.value_or("-"));
  EXPECT_THAT(lines, ElementsAre("/@dtype bf16 f16", R"(/@plan {"steps": 2} -)", "/steps/001@label  other",
                                 "/steps/000/taps/embed@unit - m"));
}

}  // namespace
}  // namespace mlbench::golden
