// Axes and the points that they make; sweep files, good and bad.
#include "harness/measure/sweep.h"

#include <algorithm>

#include <gmock/gmock.h>

#include "tests/support/expect_error.h"

namespace mlbench::measure {
namespace {

using backends::Method;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

template <class Act>
void expect_error(const Act& act, const char* code, const char* says) {
  const Error error = test::error_of(act);
  EXPECT_EQ(error.code(), code);
  EXPECT_THAT(error.message(), ::testing::HasSubstr(says));
}

BenchPoint fixed() {
  BenchPoint point;
  point.model = "llama-small";
  point.backend = "cpu";
  return point;
}

TEST(Points, AreEveryCombinationOfTheAxes) {
  Axes axes;
  axes.dtypes = {DType::f32, DType::bf16};
  axes.prompt = {64, 128};
  axes.batch = {1, 2, 4};
  const std::vector<BenchPoint> points = points_of(axes, fixed(), 2);
  ASSERT_EQ(points.size(), 12U);
  for (std::size_t i = 0; i < points.size(); ++i) {
    EXPECT_EQ(std::ranges::count(points, points[i]), 1) << i;
    EXPECT_EQ(points[i].model, "llama-small");
    EXPECT_EQ(points[i].threads, 2);
    EXPECT_EQ(points[i].gen, 64);
    EXPECT_EQ(points[i].page_size, 16);
  }
  EXPECT_EQ(points[0].dtype, "f32");
  EXPECT_EQ(points[1].prompt, 128) << "the last axis that varies is the fastest";
}

// Two instances have twice the ranks, which share the threads.
TEST(Points, OfPrefillAndDecodeApartStandBesideTogether) {
  Axes axes;
  axes.tensor_parallel = {1, 2};
  axes.disaggregated = {0, 1};
  const std::vector<BenchPoint> points = points_of(axes, fixed(), 8);
  ASSERT_EQ(points.size(), 4U);
  for (std::size_t i = 0; i < points.size(); ++i) EXPECT_EQ(points[i].disaggregated, i % 2 == 1) << i;
  EXPECT_THAT((std::vector{points[0].threads, points[1].threads, points[2].threads, points[3].threads}),
              ElementsAre(8, 4, 4, 2));
}

TEST(Points, ThatNobodyWaitsForAreRefused) {
  Axes axes;
  for (Index i = 0; i < 500; ++i) {
    axes.prompt.push_back(i);
    axes.gen.push_back(i);
  }
  expect_error([&] { (void)points_of(axes, fixed(), 1); }, "usage", "100000 points");
}

TEST(Methods, AreBatchedWhereThereAreSeveralSequences) {
  BenchPoint point = fixed();
  point.prompt = 8;
  point.gen = 8;
  EXPECT_THAT(methods_of({}, point), ElementsAre(Method::prefill, Method::decode));
  point.batch = 2;
  EXPECT_THAT(methods_of({}, point), ElementsAre(Method::batch_prefill, Method::batch_decode));
  point.gen = 0;
  EXPECT_THAT(methods_of({}, point), ElementsAre(Method::batch_prefill));
  point.prompt = 0;
  EXPECT_THAT(methods_of({}, point), IsEmpty());
}

TEST(Methods, ThatAreAskedForRunPromptsFirst) {
  Axes axes;
  axes.methods = {Method::decode, Method::batch_verify, Method::batch_decode, Method::prefill};
  EXPECT_THAT(methods_of(axes, fixed()),
              ElementsAre(Method::batch_verify, Method::prefill, Method::decode, Method::batch_decode));
}

TEST(SweepFile, GivesModelsAndAxesThatTheCommandLineReplaces) {
  const Sweep sweep = read_sweep(
      R"({"models": [{"arch": "llama"}, {"preset": "phi-2"}, {"model": "/x"}], "dtype": ["bf16"], "prompt": [7, 9],
          "tp": [2], "method": ["decode"]})",
      "s.json");
  ASSERT_EQ(sweep.models.size(), 3U);
  EXPECT_EQ(sweep.models[1].preset, "phi-2");
  EXPECT_EQ(sweep.models[2].folder, "/x");
  Axes axes = sweep.axes;
  Axes own;
  own.prompt = {32};
  axes.override_by(own);
  EXPECT_THAT(axes.prompt, ElementsAre(32));
  EXPECT_THAT(axes.dtypes, ElementsAre(DType::bf16));
  EXPECT_THAT(axes.tensor_parallel, ElementsAre(2));
  EXPECT_THAT(axes.methods, ElementsAre(Method::decode));
}

TEST(SweepFile, ThatIsWrongIsRefusedInOneLine) {
  const std::pair<const char*, const char*> kWrong[] = {
      {"", "s.json"},
      {"[]", "must be an object"},
      {R"({"promt": [1]})", "promt"},
      {R"({"prompt": 5})", "prompt: must be a list"},
      {R"({"prompt": []})", "prompt: must be a list"},
      {R"({"prompt": [1.5]})", "prompt 1.5"},
      {R"({"prompt": [-1]})", "prompt -1"},
      {R"({"batch": [0]})", "batch 0"},
      {R"({"prompt": [99999999999999999999]})", "prompt"},
      {R"({"dtype": ["f31"]})", "f31"},
      {R"({"dtype": [32]})", "dtype"},
      {R"({"method": ["fly"]})", "fly"},
      {R"({"models": ["llama"]})", "models"},
      {R"({"models": [{"arch": "llama", "preset": "x"}]})", "models"},
      {R"({"models": [{"arch": 3}]})", "models"},
      {R"({"prompt": [1], "prompt": [2]})", "prompt"},
  };
  for (const auto& [text, says] : kWrong) {
    SCOPED_TRACE(text);
    expect_error([text = text] { (void)read_sweep(text, "s.json"); }, "sweep.format", says);
  }
}

}  // namespace
}  // namespace mlbench::measure
