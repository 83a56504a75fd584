// Failures by cause.
#include <cmath>

#include <gmock/gmock.h>

#include "reports/tap_summary.h"
#include "tests/reports/example_run.h"

namespace mlbench::reports {
namespace {

using test::failing;
using test::kChained;
using test::kExact;
using test::kIsolated;
using ::testing::ElementsAre;

TapCheck guessed(TapCheck check, const std::string& guess) {
  check.guess = guess;
  return check;
}

TEST(Causes, OfAPassedRunAreNone) { EXPECT_TRUE(causes_of(test::passed_run()).empty()); }

TEST(Causes, BringTogetherOneKindOfTapWithOneGuess) {
  const BackendVerification run =
      test::run_of({failing(kIsolated, "b", "attn.q", 4, 2.0), failing(kIsolated, "a", "attn.q", 2, 3.0),
                    failing(kIsolated, "a", "attn.q", 3, 2.0), failing(kIsolated, "a", "attn.k", 3, 2.0)});
  const std::vector<Cause> causes = causes_of(run);
  ASSERT_EQ(causes.size(), 2U);
  EXPECT_EQ(causes[0].kind, "attn.q");
  EXPECT_EQ(causes[0].checks, 3);
  EXPECT_THAT(causes[0].layers, ElementsAre(2, 3, 4));
  EXPECT_THAT(causes[0].calls, ElementsAre("b", "a"));
  EXPECT_EQ(causes[0].first, run.checks.data());  // in the order of computation, not of layers
  EXPECT_EQ(causes[1].kind, "attn.k");
}

TEST(Causes, TellGuessesApart) {
  const BackendVerification run = test::run_of({guessed(failing(kIsolated, "a", "attn.q", 0, 2.0), "one head"),
                                                guessed(failing(kIsolated, "a", "attn.q", 1, 2.0), "the last row"),
                                                guessed(failing(kIsolated, "a", "attn.q", 2, 2.0), "one head")});
  const std::vector<Cause> causes = causes_of(run);
  ASSERT_EQ(causes.size(), 2U);
  EXPECT_EQ(causes[0].guess, "one head");
  EXPECT_EQ(causes[0].checks, 2);
}

// Both feed every part with the reference's own input; what runs freely also shows what was passed on.
TEST(Causes, BringIsolatedAndExactTogetherAndKeepChainedApart) {
  const BackendVerification run =
      test::run_of({failing(kIsolated, "a", "attn.q", 0, 2.0), failing(kChained, "a", "attn.q", 0, 2.0),
                    failing(kExact, "a", "attn.q", 0, 2.0)});
  const std::vector<Cause> causes = causes_of(run);
  ASSERT_EQ(causes.size(), 2U);
  EXPECT_EQ(modes_text(causes[0]), "isolated, exact");
  EXPECT_EQ(modes_text(causes[1]), "chained");
}

TEST(Causes, WriteLayersAsRanges) {
  Cause cause;
  EXPECT_EQ(layers_text(cause), "-");
  cause.layers = {3};
  EXPECT_EQ(layers_text(cause), "3");
  cause.layers = {0, 1, 2, 5, 7, 8};
  EXPECT_EQ(layers_text(cause), "0-2, 5, 7-8");
}

TEST(WorstCheck, IsWhatIsNoNumberWhereThereIsOne) {
  const double nan = std::nan("");
  for (const std::vector<double>& ratios : {std::vector{nan, 2.0}, std::vector{2.0, nan}}) {
    BackendVerification run = test::run_of({});
    for (const double ratio : ratios) run.checks.push_back(failing(kChained, "a", "logits", -1, ratio));
    EXPECT_TRUE(std::isnan(worst_check(run, kChained)->ratio));
    EXPECT_TRUE(std::isnan(summarize(run, &TapCheck::tap)[0].in(kChained).worst->ratio));
    EXPECT_EQ(worst_check(run, kExact), nullptr);
  }
}

}  // namespace
}  // namespace mlbench::reports
