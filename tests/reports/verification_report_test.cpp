#include "reports/verification_report.h"

#include <limits>

#include <gmock/gmock.h>

namespace mlbench::reports {
namespace {

using nlohmann::json;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

TapResult passing(const std::string& step, const std::string& tap, Index layer, double error) {
  return {.method = "prefill",
          .step = step,
          .dataset = "/" + step + "/" + tap,
          .tap = tap,
          .layer = layer,
          .elements = 10,
          .max_error = error,
          .max_expected = 2.0,
          .limit = 2e-12,
          .passed = true,
          .worst = std::nullopt};
}

TapResult failing(const std::string& step, const std::string& tap, Index layer) {
  TapResult result = passing(step, tap, layer, 0.5);
  result.passed = false;
  result.straying = 3;
  result.worst = Mismatch{1, 7, "head 2 [5]", 1.0, 1.5};
  return result;
}

GoldenVerification result_of(std::vector<TapResult> taps) {
  GoldenVerification result;
  result.model = "checkpoint";
  result.architecture = "llama";
  result.golden = "golden.h5";
  result.backend = "reference";
  result.dtype = "f64";
  result.rtol = 1e-12;
  result.taps = std::move(taps);
  result.result_datasets = static_cast<Index>(result.taps.size());
  result.compared_datasets = result.result_datasets;
  return result;
}

std::string row_of(const std::string& text, const std::string& tap) {
  const auto at = text.find("\n" + tap + " ");
  return at == std::string::npos ? "" : text.substr(at + 1, text.find('\n', at + 1) - at - 1);
}

TEST(Text, OfAPassedRunEndsWithItsVerdict) {
  const std::string text = to_text(result_of({passing("prefill", "embed", -1, 0.0)}), false);
  EXPECT_THAT(text, EndsWith("\npassed\n"));
  EXPECT_THAT(text, HasSubstr("1 of 1 result datasets compared in 1 comparisons; 0 failed"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(Text, OfAFailedRunEndsWithTheFirstTapThatStrays) {
  const std::string text =
      to_text(result_of({passing("prefill", "embed", -1, 0.0), failing("prefill", "layers.3.attn.q", 3),
                         failing("prefill", "logits", -1)}),
              false);
  EXPECT_THAT(text, EndsWith("FAILED\nfirst tap that strays: prefill (prefill), batch row 1, position 7, layer 3, tap "
                             "layers.3.attn.q, element head 2 [5]: golden 1, computed 1.5; error 5.00e-01 > limit "
                             "2.00e-12 at this, the worst of 3 straying elements of 10\n"));
}

TEST(Text, OutsideTheLayersNamesNone) {
  const std::string text = to_text(result_of({failing("decode/1", "logits", -1)}), false);
  EXPECT_THAT(text, HasSubstr("position 7, tap logits, element"));
}

TEST(Text, ShowsTheWorstComparisonOfATap) {
  const std::string text =
      to_text(result_of({passing("prefill", "embed", -1, 1e-15), passing("decode/0", "embed", -1, 3e-15),
                         passing("decode/1", "embed", -1, 2e-15), passing("prefill", "logits", -1, 4e-15)}),
              false);
  EXPECT_THAT(row_of(text, "embed"),
              ::testing::MatchesRegex("embed +3 +decode/0 +3.00e-15 +2.00e-12 +1.50e-03 +passed"));
  EXPECT_THAT(row_of(text, "logits"), ::testing::MatchesRegex("logits +1 +prefill .*"));
  EXPECT_LT(text.find("\nembed"), text.find("\nlogits"));
}

// One failure among many passes: the tap's row shows it.
TEST(Text, ShowsATapAsFailedWhenOneComparisonFailed) {
  const std::string text = to_text(result_of({passing("prefill", "embed", -1, 0.0), failing("decode/0", "embed", -1),
                                              passing("decode/1", "embed", -1, 0.0)}),
                                   false);
  EXPECT_THAT(row_of(text, "embed"), HasSubstr("FAILED"));
  EXPECT_THAT(row_of(text, "embed"), HasSubstr("decode/0"));
  EXPECT_THAT(text, HasSubstr("; 1 failed;"));
}

TEST(Text, ListsWhatWasNotComparedAndWhy) {
  GoldenVerification result = result_of({passing("prefill", "embed", -1, 0.0)});
  result.result_datasets = 3;
  result.uncompared = {{"/prefill/a", "no tap"}, {"/prefill/b", "another reason"}};
  result.notes = {"frequencies differ"};
  const std::string text = to_text(result, false);
  EXPECT_THAT(text, HasSubstr("not compared: \"/prefill/a\": no tap\nnot compared: \"/prefill/b\": another reason\n"));
  EXPECT_THAT(text, HasSubstr("note: frequencies differ\n"));
  EXPECT_THAT(text, EndsWith("FAILED\nfewer than 95% of the golden's result datasets could be compared\n"));
}

TEST(Text, ColoursVerdictsOnly) {
  const std::string text =
      to_text(result_of({passing("prefill", "embed", -1, 0.0), failing("prefill", "logits", -1)}), true);
  EXPECT_THAT(row_of(text, "embed"), EndsWith("\x1b[32mpassed\x1b[0m"));
  EXPECT_THAT(row_of(text, "logits"), EndsWith("\x1b[31mFAILED\x1b[0m"));
  EXPECT_EQ(text.substr(0, text.find("\ntap ")).find('\x1b'), std::string::npos);
}

// What a terminal would obey may stand in a golden's names, which come from anywhere.
TEST(Text, PassesNoControlCharactersOfNamesOn) {
  GoldenVerification result = result_of({passing("prefill", "embed", -1, 0.0)});
  result.uncompared = {{"/prefill/\x1b[2J\nmlbench", "its group is not known"}};
  const std::string text = to_text(result, false);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find("\nmlbench"), std::string::npos);
}

TEST(Json, OfAPassedRun) {
  const json report = json::parse(to_json(result_of({passing("prefill", "layers.0.out", 0, 1e-15)})).dump());
  EXPECT_EQ(report["command"], "verify");
  EXPECT_EQ(report["verdict"], "passed");
  EXPECT_EQ(report["first_failure"], json());
  EXPECT_EQ(report["datasets"], (json{{"results", 1}, {"compared", 1}, {"uncompared", 0}}));
  EXPECT_EQ(report["comparisons"], 1);
  EXPECT_EQ(report["taps"][0]["verdict"], "passed");
  EXPECT_EQ(report["taps"][0]["layer"], 0);
  EXPECT_EQ(report["taps"][0]["max_error"], 1e-15);
  EXPECT_EQ(report["taps"][0]["limit"], 2e-12);
  EXPECT_FALSE(report["taps"][0].contains("worst"));
}

TEST(Json, OfAFailedRun) {
  GoldenVerification result = result_of({passing("prefill", "embed", -1, 0.0), failing("decode/0", "logits", -1)});
  result.warnings = {"careful"};
  const json report = json::parse(to_json(result).dump());
  EXPECT_EQ(report["verdict"], "failed");
  EXPECT_EQ(report["first_failure"], report["taps"][1]);
  EXPECT_EQ(report["first_failure"]["step"], "decode/0");
  EXPECT_EQ(report["first_failure"]["layer"], json());
  EXPECT_EQ(report["first_failure"]["worst"],
            (json{{"batch_row", 1}, {"position", 7}, {"element", "head 2 [5]"}, {"golden", 1.0}, {"computed", 1.5}}));
  EXPECT_EQ(report["warnings"], json::array({"careful"}));
}

TEST(Json, OfNumbersThatAreNotFiniteIsNull) {
  TapResult bad = failing("prefill", "logits", -1);
  bad.max_error = std::numeric_limits<double>::infinity();
  bad.worst->computed = std::numeric_limits<double>::quiet_NaN();
  const json report = json::parse(to_json(result_of({bad})).dump());
  EXPECT_EQ(report["first_failure"]["max_error"], json());
  EXPECT_EQ(report["first_failure"]["ratio"], json());
  EXPECT_EQ(report["first_failure"]["worst"]["computed"], json());
  EXPECT_EQ(report["first_failure"]["worst"]["golden"], 1.0);
  EXPECT_THAT(to_text(result_of({bad}), false), HasSubstr("error not finite > limit 2.00e-12"));
}

TEST(Json, OfARunThatComparedTooLittleIsFailed) {
  GoldenVerification result = result_of({passing("prefill", "embed", -1, 0.0)});
  result.result_datasets = 2;
  result.uncompared = {{"/prefill/a", "no tap"}};
  const json report = json::parse(to_json(result).dump());
  EXPECT_EQ(report["verdict"], "failed");
  EXPECT_EQ(report["first_failure"], json());
  EXPECT_EQ(report["uncompared"], json::array({json{{"dataset", "/prefill/a"}, {"reason", "no tap"}}}));
}

}  // namespace
}  // namespace mlbench::reports
