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

TEST(BackendText, HasColumnsOfTheExactModeWhereThatWasRun) {
  EXPECT_THAT(to_text(test::passed_run(), false), Not(HasSubstr("exact")));
  const std::string text = to_text(test::full_run(), false);
  EXPECT_THAT(line_that_starts(text, "tap "), MatchesRegex(".*chained +worst in +exact +worst in +checks.*"));
  EXPECT_THAT(line_that_starts(text, "embed "), MatchesRegex("embed +0 +single/0 +- +0 +single/0 +2 +passed"));
  EXPECT_THAT(line_that_starts(text, "attn.q "), MatchesRegex(".* limit 0 +single/0, layer 1 +4 +2 FAILED"));
}

TEST(BackendText, ShowsHowTheLogitsAgree) {
  const std::string text = to_text(test::full_run(), false);
  EXPECT_THAT(text, HasSubstr("logits against the reference's, 100 rows\n"
                              "KL divergence   mean 1e-05, largest 0.25 nats in single/1 decode\n"
                              "same top token  97 of 100 (2 more within the limits)\n"
                              "top ten shared  99.5%\n"));
  EXPECT_THAT(to_text(test::passed_run(), false), Not(HasSubstr("KL")));
}

TEST(BackendText, ShowsSchedulesAsASquare) {
  const std::string text = to_text(test::full_run(), false);
  EXPECT_THAT(text, HasSubstr("             whole   chunked  page size 1\n"
                              "whole            .         =          0.5\n"
                              "chunked          =         .     4 FAILED\n"
                              "page size 1    0.5  4 FAILED            .\n"));
  EXPECT_THAT(text,
              HasSubstr("FAILED: chunked and page size 1: apart by up to 0.002, 4 of the limit; the first tap that "
                        "differs is layers.1.attn.out, position 9\n"));
  EXPECT_THAT(to_text(test::passed_run(), false), Not(HasSubstr("schedules")));
}

TEST(BackendText, ShowsInvariances) {
  const std::string text = to_text(test::full_run(), false);
  EXPECT_THAT(line_that_starts(text, "run to run"), MatchesRegex("run to run +yes +0 +passed"));
  EXPECT_THAT(line_that_starts(text, "batch"), MatchesRegex("batch +no +1e-06 +layers.0.attn.q .* not required"));
  EXPECT_THAT(line_that_starts(text, "taps on"), MatchesRegex("taps on = off +no +0.01 +logits .* FAILED"));
}

TEST(BackendText, GivesTheReasonsOfItsVerdict) {
  const std::string text = to_text(test::full_run(), false);
  EXPECT_THAT(text, HasSubstr("\nFAILED\nfault: memory.canary: single/0 prefill, logits: 4 bytes behind it changed\n"
                              "what that means: mlbench --explain memory.canary\n"
                              "untrusted: untrusted.loose: layers.0.attn.q: the limit is 3 times the signal\n"));
  const std::string untrusted = to_text(test::untrusted_run(), false);
  EXPECT_THAT(untrusted, EndsWith("\nUNTRUSTED\nuntrusted: untrusted.constant: two prompts gave equal logits\n"
                                  "what that means: mlbench --explain untrusted.constant\n"));
}

TEST(BackendText, GroupsFailuresByCauseAndEndsWithTheFirst) {
  const std::vector<std::string> lines = lines_of(to_text(test::full_run(), false));
  ASSERT_GE(lines.size(), 4U);
  EXPECT_EQ(lines[lines.size() - 4],
            "isolated, exact attn.q: 2 checks failed in 1 layer (1), 1 call; it looks like: halves of a head are "
            "swapped; first: layers.1.attn.q of single/0 prefill, 500");
  EXPECT_EQ(lines[lines.size() - 3], "chained logits: 1 check failed, 1 call; first: logits of single/1 decode, 2");
  EXPECT_THAT(lines[lines.size() - 2], StartsWith("first tap that strays: "));
  EXPECT_THAT(lines[lines.size() - 1], StartsWith("again: "));
}

// Labels come from goldens, names from folders: a terminal must not obey them.
TEST(BackendText, PassesNoControlCharactersOn) {
  const std::string hostile = "a\x1b[2J\nFAILED\r\x07";
  const BackendVerification runs[] = {test::run_full_of(hostile)};
  for (const std::string& text : {to_text(runs[0], false), summary_text(runs, false)}) {
    EXPECT_EQ(text.find_first_of("\x1b\r\x07"), std::string::npos);
    EXPECT_THAT(lines_of(text), ::testing::Each(Not(StartsWith("FAILED\\x0d"))));
  }
}

TEST(BackendText, SurvivesFiguresThatAreNone) {
  for (const double figure : {kInf, -kInf, std::nan("")}) {
    const std::string text = to_text(test::run_full_of(figure), false);
    EXPECT_THAT(text, HasSubstr("KL divergence   mean not finite"));
    EXPECT_THAT(line_that_starts(text, "embed "), HasSubstr("not finite"));
  }
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
  EXPECT_EQ(run["worst_ratio"], (json{{"isolated", 500.0}, {"chained", 2.0}, {"exact", nullptr}}));
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

TEST(BackendJson, OfUntrustedRunsIsUntrustedUnlessOneFailed) {
  const auto untrusted = test::untrusted_run(), passed = test::passed_run(), failed = test::failed_run();
  EXPECT_EQ(json_of({untrusted})["runs"][0]["verdict"], "untrusted");
  EXPECT_EQ(json_of({passed, untrusted})["verdict"], "untrusted");
  EXPECT_EQ(json_of({passed, untrusted, failed})["verdict"], "failed");
}

TEST(BackendJson, HoldsWhatWasSeenOfTheRunAsAWhole) {
  const json run = json_of({test::full_run()})["runs"][0];
  EXPECT_EQ(run["faults"], (json::array({{{"code", "memory.canary"},
                                          {"where", "single/0 prefill, logits"},
                                          {"text", "4 bytes behind it changed"}}})));
  EXPECT_EQ(run["untrusted"][0]["code"], "untrusted.loose");
  EXPECT_EQ(run["logits"]["max_kl"], 0.25);
  EXPECT_EQ(run["logits"]["close_top1"], 2);
  EXPECT_EQ(run["schedules"].size(), 3U);
  EXPECT_EQ(run["schedules"][2], (json{{"a", "chunked"},
                                       {"b", "page size 1"},
                                       {"bitwise", false},
                                       {"max_difference", 2e-3},
                                       {"ratio", 4.0},
                                       {"first_tap", "layers.1.attn.out"},
                                       {"position", 9},
                                       {"verdict", "failed"}}));
  EXPECT_EQ(run["schedules"][0]["first_tap"], nullptr);
  EXPECT_EQ(run["invariances"][2]["property"], "taps on = off");
  EXPECT_EQ(run["invariances"][2]["required"], true);
  EXPECT_EQ(run["warnings"], json::array({"a tensor is not used"}));
  ASSERT_EQ(run["causes"].size(), 2U);
  EXPECT_EQ(run["causes"][0]["modes"], (json::array({"isolated", "exact"})));
  EXPECT_EQ(run["causes"][0]["layers"], json::array({1}));
  EXPECT_EQ(run["causes"][0]["first"], run["first_failure"]);
  EXPECT_EQ(run["failures"][2]["inputs"], "exact");
  EXPECT_EQ(run["failures"][2]["guess"], "halves of a head are swapped");
  EXPECT_EQ(run["failures"][2]["ratio"], nullptr);
  EXPECT_EQ(json_of({test::passed_run()})["runs"][0]["logits"], nullptr);
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
  const nlohmann::ordered_json out = to_json(std::vector{test::run_full_of("folder \xff\xfe")});
  const std::string text = out.dump(2, ' ', false, json::error_handler_t::replace);
  EXPECT_TRUE(json::accept(text));
}

}  // namespace
}  // namespace mlbench::reports
