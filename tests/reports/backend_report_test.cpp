// Verifications of backends as text and as JSON.
#include "reports/backend_report.h"

#include <cmath>

#include <gmock/gmock.h>

#include "tests/reports/example_run.h"

namespace mlbench::reports {
namespace {

using nlohmann::json;
using test::kChained;
using test::kIsolated;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

constexpr double kInf = std::numeric_limits<double>::infinity();

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

std::string line_that_starts(const std::string& text, const std::string& start) {
  for (const std::string& line : lines_of(text)) {
    if (line.starts_with(start)) return line;
  }
  return "";
}

json json_of(const std::vector<BackendVerification>& runs) { return json::parse(to_json(runs).dump()); }

TEST(BackendText, SaysWhatRanAndUnderWhichArithmetic) {
  const std::string text = to_text(test::passed_run(), false);
  EXPECT_THAT(text, StartsWith("llama-small (llama) on cpu (oneDNN 2.6.3), dtype bf16\n"
                               "weights bf16, accumulation f32\n"));
  EXPECT_THAT(text, EndsWith("\npassed\n"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(BackendText, HasARowForEachKindOfTapWithItsWorstInEachMode) {
  const std::string text = to_text(test::passed_run(), false);
  EXPECT_THAT(line_that_starts(text, "tap "), HasSubstr("isolated  worst in"));
  const std::string q = line_that_starts(text, "attn.q ");
  EXPECT_THAT(q, MatchesRegex("attn.q +0.5  single/0.*, layer 1 +0.125  single/0.*, layer 0 +3  passed"));
  const std::string embed = line_that_starts(text, "embed ");  // not checked in chained mode
  EXPECT_THAT(embed, MatchesRegex("embed +0  single/0.* + - +1  passed"));
}

TEST(BackendText, OfAFailureNamesTheFirstTapThatStraysAndHowToRunItAgain) {
  const std::string text = to_text(test::failed_run(), false);
  EXPECT_THAT(line_that_starts(text, "attn.q "), EndsWith("3  1 FAILED"));
  EXPECT_THAT(line_that_starts(text, "logits "), EndsWith("1  1 FAILED"));
  const std::string first = line_that_starts(text, "first tap that strays: ");
  for (const char* part :
       {"isolated", "prefill", "single/0 prefill", "sequence 1", "position 7", "layer 1", "tap layers.1.attn.q",
        "head 2 [5]", "expected 1,", "computed 1.5", "500 times", "3 straying elements of 100"}) {
    EXPECT_THAT(first, HasSubstr(part));
  }
  EXPECT_EQ(lines_of(text).back(), "again: " + test::failed_run().again);
  EXPECT_THAT(text, HasSubstr("\nFAILED\n"));
}

TEST(BackendText, OfAChainedFailureAloneNamesIt) {
  BackendVerification run = test::failed_run();
  run.checks[2] = test::passing(kIsolated, "single/0 prefill", "attn.q", 1, 0.5);
  const std::string first = line_that_starts(to_text(run, false), "first tap that strays: ");
  EXPECT_THAT(first, HasSubstr("chained"));
  EXPECT_THAT(first, HasSubstr("tap logits"));
  EXPECT_THAT(first, Not(HasSubstr("layer")));
}

TEST(BackendText, ShowsNumbersThatAreNoneAsSuch) {
  BackendVerification run = test::failed_run();
  run.checks[2].error = run.checks[2].ratio = kInf;
  run.checks[2].worst->computed = std::nan("");
  const std::string text = to_text(run, false);
  EXPECT_THAT(line_that_starts(text, "attn.q "), HasSubstr("not finite"));
  EXPECT_THAT(line_that_starts(text, "first tap"), HasSubstr("computed nan"));
}

TEST(BackendText, OfNothingThatRanListsWhatIsUnsupported) {
  const std::string text = to_text(test::unsupported_run(), false);
  EXPECT_THAT(text, HasSubstr("\nunsupported: dtype bf16: no hardware for it\n"));
  EXPECT_EQ(lines_of(text).back(), "unsupported");
}

TEST(BackendText, OfABrokenRunShowsTheErrorInOneLine) {
  BackendVerification run = test::broken_run();
  run.error += "\nwith a second line\x1b[31m";
  const std::string text = to_text(run, false);
  EXPECT_THAT(text, HasSubstr("\nERROR\nthe backend failed: backend.failed: the device fell off the bus"));
  EXPECT_THAT(text, Not(HasSubstr("\nwith a second line")));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(BackendText, OfDistancesToAGoldenSaysThatTheyAreNotJudged) {
  BackendVerification run = test::passed_run();
  run.golden = "golden.h5";
  run.distances = {{"attn.q", 0.0123, "prefill"}};
  const std::string text = to_text(run, false);
  EXPECT_THAT(text, HasSubstr("to golden.h5, not judged"));
  EXPECT_THAT(text, HasSubstr("0.0123  prefill"));
  EXPECT_THAT(text, EndsWith("\npassed\n"));
}

TEST(BackendText, IsColouredOnlyWhenAsked) {
  EXPECT_THAT(to_text(test::passed_run(), true), HasSubstr("\x1b[32mpassed\x1b[0m"));
  EXPECT_THAT(to_text(test::failed_run(), true), HasSubstr("\x1b[31mFAILED\x1b[0m"));
  EXPECT_THAT(to_text(test::failed_run(), false), Not(HasSubstr("\x1b")));
}

TEST(BackendSummary, HasALineForEachRun) {
  const BackendVerification runs[] = {test::passed_run(), test::failed_run(), test::unsupported_run(),
                                      test::broken_run()};
  const std::vector<std::string> lines = lines_of(summary_text(runs, false));
  ASSERT_EQ(lines.size(), 5U);
  EXPECT_THAT(lines[1], MatchesRegex("llama-small +cpu +bf16 +5 +0.5 +0.75  passed"));
  EXPECT_THAT(lines[2], MatchesRegex("llama-small +cpu +bf16 +5 +500 +2  FAILED"));
  EXPECT_THAT(lines[3], MatchesRegex("llama-small +cpu +bf16 +0 +- +-  unsupported"));
  EXPECT_THAT(lines[4], MatchesRegex("llama-small +cpu +bf16 +1 +- +0  ERROR"));
}

TEST(BackendJson, HoldsTheFieldsOfARun) {
  const json all = json_of({test::failed_run()});
  EXPECT_EQ(all["command"], "verify");
  const json& run = all["runs"][0];
  EXPECT_EQ(run["model"], "llama-small");
  EXPECT_EQ(run["architecture"], "llama");
  EXPECT_EQ(run["backend"], "cpu");
  EXPECT_EQ(run["version"], "oneDNN 2.6.3");
  EXPECT_EQ(run["dtype"], "bf16");
  EXPECT_EQ(run["arithmetic"], (json{{"weights", "bf16"}, {"accumulation", "f32"}}));
  EXPECT_EQ(run["seed"], 7);
  EXPECT_EQ(run["memory_bytes"], (json{{"estimate", 1000}, {"peak", 900}}));
  EXPECT_EQ(run["checks"], 5);
  EXPECT_EQ(run["failed"], 2);
  EXPECT_EQ(run["worst_ratio"], (json{{"isolated", 500.0}, {"chained", 2.0}}));
  EXPECT_EQ(run["again"], test::failed_run().again);
  EXPECT_EQ(run["error"], nullptr);
  EXPECT_EQ(run["golden"], nullptr);
  const json& first = run["first_failure"];
  EXPECT_EQ(first["tap"], "layers.1.attn.q");
  EXPECT_EQ(first["layer"], 1);
  EXPECT_EQ(first["verdict"], "failed");
  EXPECT_EQ(first["worst"],
            (json{{"sequence", 1}, {"position", 7}, {"element", "head 2 [5]"}, {"expected", 1.0}, {"computed", 1.5}}));
  EXPECT_EQ(run["failures"].size(), 2U);
  EXPECT_EQ(run["failures"][0], first);
  EXPECT_EQ(run["failures"][1]["layer"], nullptr);
}

TEST(BackendJson, SummarizesEachTapInEachMode) {
  const json taps = json_of({test::failed_run()})["runs"][0]["taps"];
  ASSERT_EQ(taps.size(), 5U);  // embed; q of layer 0 twice; q of layer 1; logits
  const json& q0 = taps[1];
  EXPECT_EQ(q0["tap"], "layers.0.attn.q");
  EXPECT_EQ(q0["mode"], "isolated");
  EXPECT_EQ(q0["ratio"], 0.25);
  EXPECT_EQ(taps[2]["mode"], "chained");
  EXPECT_EQ(taps[3]["failed"], 1);
  EXPECT_EQ(taps[3]["straying"], 3);
  EXPECT_EQ(taps[3]["checks"], 1);
}

TEST(BackendJson, HasNullWhereANumberIsNotFinite) {
  BackendVerification run = test::failed_run();
  run.checks[2].error = run.checks[2].ratio = kInf;
  run.checks[2].worst->computed = std::nan("");
  run.distances = {{"attn.q", kInf, "prefill"}};
  const json out = json_of({run})["runs"][0];
  EXPECT_EQ(out["first_failure"]["ratio"], nullptr);
  EXPECT_EQ(out["first_failure"]["error"], nullptr);
  EXPECT_EQ(out["first_failure"]["worst"]["computed"], nullptr);
  EXPECT_EQ(out["first_failure"]["limit"], 1e-6);
  EXPECT_EQ(out["worst_ratio"]["isolated"], nullptr);
  EXPECT_EQ(out["distances_to_golden"][0]["distance"], nullptr);
  EXPECT_EQ(out["verdict"], "failed");
}

TEST(BackendJson, HasAVerdictForEachRunAndOneForAll) {
  const auto verdicts = [](const std::vector<BackendVerification>& runs) {
    const json all = json_of(runs);
    std::vector<std::string> out = {all["verdict"]};
    for (const json& run : all["runs"]) out.push_back(run["verdict"]);
    return out;
  };
  using Words = std::vector<std::string>;
  const auto passed = test::passed_run(), failed = test::failed_run(), unsupported = test::unsupported_run(),
             broken = test::broken_run();
  EXPECT_EQ(verdicts({passed}), (Words{"passed", "passed"}));
  EXPECT_EQ(verdicts({unsupported}), (Words{"unsupported", "unsupported"}));
  EXPECT_EQ(verdicts({passed, unsupported}), (Words{"passed", "passed", "unsupported"}));
  EXPECT_EQ(verdicts({passed, failed, unsupported}), (Words{"failed", "passed", "failed", "unsupported"}));
  EXPECT_EQ(verdicts({passed, broken}), (Words{"failed", "passed", "error"}));
}

TEST(BackendJson, ListsNoMoreThanAHundredFailuresAndCountsAll) {
  std::vector<TapCheck> checks;
  for (Index layer = 0; layer < 130; ++layer) {
    checks.push_back(test::failing(kChained, "single/0 prefill", "attn.q", layer, 2.0));
  }
  const json run = json_of({test::run_of(checks)})["runs"][0];
  EXPECT_EQ(run["failures"].size(), 100U);
  EXPECT_EQ(run["failed"], 130);
  EXPECT_EQ(run["taps"].size(), 130U);
}

// Paths are bytes, JSON is UTF-8.
TEST(BackendJson, SurvivesTextThatIsNotUtf8) {
  BackendVerification run = test::broken_run();
  run.model = "folder \xff\xfe";
  const nlohmann::ordered_json out = to_json(std::vector<BackendVerification>{run});
  const std::string text = out.dump(2, ' ', false, json::error_handler_t::replace);
  EXPECT_TRUE(json::accept(text));
}

}  // namespace
}  // namespace mlbench::reports
