// Soaks, siblings and qualifications as JSON against reports/qualify.schema.json, as text and as a page.
#include "reports/qualification_report.h"

#include <cmath>
#include <cstdlib>
#include <limits>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "reports/bench_report.h"
#include "reports/siblings_report.h"
#include "reports/soak_report.h"
#include "tests/reports/example_bench.h"
#include "tests/support/temp_dir.h"

namespace mlbench::reports {
namespace {

using mlbench::test::read_file;
using mlbench::test::TempDir;
using nlohmann::ordered_json;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kHostile = "</script><b>\"x\"&\xff\x01";

// Whether all documents follow the schema, and none does with a damage.
int check(const std::vector<ordered_json>& documents, std::string& said) {
  const TempDir dir;
  std::string paths;
  for (const ordered_json& document : documents) {
    const std::string path = dir / fmt::format("{}.json", paths.size());
    mlbench::test::write_file(path, document.dump(1, ' ', false, ordered_json::error_handler_t::replace));
    paths += fmt::format(" '{}'", path);
  }
  const int status = std::system(  // NOLINT(cert-env33-c)
      fmt::format("'{}' '{}/tests/reports/check_json.py' '{}/reports/qualify.schema.json'{} >'{}' 2>&1", MLBENCH_PYTHON,
                  MLBENCH_SOURCE_DIR, MLBENCH_SOURCE_DIR, paths, dir / "said")
          .c_str());
  said = read_file(dir / "said");
  return status;
}

void expect_strict(const std::vector<ordered_json>& documents) {
  std::string said;
  EXPECT_EQ(check(documents, said), 0) << said;
}

SoakResults soaked(const std::string& text = "text") {
  SoakResults r;
  r.model = r.architecture = r.backend = r.version = r.device = r.command = r.criterion = text;
  r.dtype = "f32";
  r.kept = "all taps";
  r.checks = 100;
  r.iterations = 20;
  r.wrong_iterations = 1;
  SoakFault f;
  f.seconds = 1.5;
  f.time = "2026-11-22T10:00:00.123Z";
  f.iteration = 17;
  f.call = text;
  f.tap = "layers.1.attn.q";
  f.element = "head 2 [5]";
  f.expected = 1.5;
  f.computed = std::nan("");
  f.expected_bits = "0x3fc00000";
  f.computed_bits = "0x7fc00000";
  f.bits = {30};
  f.straying = 1;
  f.again = Again::transient;
  r.faults = {f};
  r.findings = {{"memory.canary", text, text}};
  r.environment.facts = {{"cpu", text}};
  r.environment.warnings = {text};
  TelemetrySeries clock{.name = "processor clock", .unit = "MHz", .values = {2000.0, std::nullopt}};
  TelemetrySeries errors{.name = text, .counter = true, .values = {0.0, 2.0}};
  r.telemetry = {{"/proc"}, {0.0, 1.0}, {clock, errors}, {text}, {text}};
  return r;
}

SiblingResults compared(const std::string& text = "text") {
  SiblingResults r;
  r.backend = text;
  r.kind = "devices";
  r.siblings = {"a", "b"};
  r.meaning = text;
  r.failed = {text};
  r.figures = {
      {"reads", "B/s", {1.0, std::nullopt}, 1.0, 0.0, {{"a", 1.0, -0.1, std::numeric_limits<double>::infinity()}}}};
  return r;
}

ordered_json verified() {
  return ordered_json::parse(R"({"runs": [{"verdict": "passed", "architecture": "llama", "dtype": "f32", "checks": 5,
    "failed": 0, "worst_ratio": {"isolated": 0.5, "chained": null, "exact": 0.1}, "first_failure": null, "error": null,
    "invariances": [{"property": "run to run", "holds": true}, {"property": "batch", "holds": false}]}]})");
}

Qualification qualified(const std::string& text = "text") {
  Qualification q;
  q.program = q.started = q.finished = q.command = q.backend = q.version = q.device = q.description = text;
  q.inventory = {{text, text}};
  q.warnings = {text};
  q.steps = {{"verify-llama-f32", {text}, StepVerdict::passed, 0, 1.0, "", {text}, ""},
             {"probe", {}, StepVerdict::skipped, 0, 0.0, text, {}, ""},
             {"soak", {text}, StepVerdict::failed, 1, 2.0, "", {"soak.json", "logs/soak.log"}, text}};
  q.documents["verify-llama-f32"] = verified();
  q.documents["soak"] = to_json(soaked(text));
  q.documents["siblings"] = to_json(compared(text));
  BenchRun run;
  run.rows = {test::decode_row()};
  q.documents["bench"] = to_json(run);
  q.documents["probe"] = to_json(test::full_bench().probes);
  return q;
}

TEST(QualifySchema, HoldsForSoaks) {
  SoakResults fresh;
  fresh.iterations = 1;
  SoakResults broken;
  broken.error = "backend.crashed: ...";
  broken.worst_ratio = std::nan("");
  expect_strict({to_json(soaked()), to_json(fresh), to_json(broken), to_json(soaked(kHostile))});
}

TEST(QualifySchema, HoldsForSiblings) {
  expect_strict({to_json(compared()), to_json(SiblingResults{.kind = "processors"}), to_json(compared(kHostile))});
}

TEST(QualifySchema, HoldsForQualifications) {
  Qualification interrupted;
  interrupted.interrupted = true;
  expect_strict({to_json(interrupted)});
  expect_strict({to_json(qualified())});
}

// The checker itself: it must be able to say no.
TEST(QualifySchema, RejectsWhatIsNotWritten) {
  for (const auto& [path, value] : {std::pair<const char*, ordered_json>{"/steps/0/verdict", "maybe"},
                                    {"/soak/verdict", "unsupported"},
                                    {"/siblings/kind", "sisters"},
                                    {"/verifications/0/checks", -1}}) {
    ordered_json json = to_json(qualified());
    json.at(ordered_json::json_pointer(path)) = value;
    std::string said;
    EXPECT_NE(check({json}, said), 0) << path;
    EXPECT_THAT(said, Not(HasSubstr("Traceback"))) << path;
  }
}

// ---- text ----

TEST(SoakText, NamesTheFirstWrongValue) {
  const std::string text = to_text(soaked(), false);
  EXPECT_THAT(text,
              HasSubstr("wrong value: after 1.500 s (2026-11-22T10:00:00.123Z), iteration 17, in text, sequence 0, "
                        "position 0: layers.1.attn.q head 2 [5] is nan, must be 1.5 (0x7fc00000 for 0x3fc00000: bit "
                        "30 differs)"));
  EXPECT_THAT(text, HasSubstr("run again, the iteration was right: transient"));
  EXPECT_THAT(text, HasSubstr("soak: failed\n"));
}

TEST(SoakVerdict, FollowsFromWhatWasFound) {
  using Verdict = BackendVerification::Verdict;
  SoakResults r;
  EXPECT_EQ(r.verdict(), Verdict::untrusted);  // nothing was run
  r.iterations = 1;
  EXPECT_EQ(r.verdict(), Verdict::passed);
  SoakResults wrong = r, strays = r, found = r, broken = r;
  wrong.wrong_iterations = 1;
  strays.check_failure = "x";
  found.findings = {{"memory.canary", "", ""}};
  broken.error = "x";
  for (const SoakResults& bad : {wrong, strays, found}) EXPECT_EQ(bad.verdict(), Verdict::failed);
  EXPECT_EQ(broken.verdict(), Verdict::error);
}

TEST(QualificationVerdict, IsThatOfAllItsSteps) {
  const auto with = [](std::vector<StepVerdict> verdicts) {
    Qualification q;
    for (const StepVerdict verdict : verdicts) q.steps.push_back({.name = "s", .verdict = verdict});
    return q;
  };
  EXPECT_TRUE(with({StepVerdict::passed, StepVerdict::skipped}).passed());
  EXPECT_FALSE(with({StepVerdict::skipped}).passed());  // nothing was done
  EXPECT_FALSE(with({}).passed());
  for (const StepVerdict bad : {StepVerdict::failed, StepVerdict::unsupported, StepVerdict::broken,
                                StepVerdict::interrupted, StepVerdict::not_run})
    EXPECT_FALSE(with({StepVerdict::passed, bad}).passed());
}

TEST(QualificationText, SaysOfEveryStepWhatBecameOfIt) {
  const std::string text = to_text(qualified());
  EXPECT_THAT(text, HasSubstr("failed: 1 passed, 1 failed, 1 skipped\n"));
  EXPECT_THAT(findings_text(qualified()), HasSubstr("==== soak: failed\ntext\n"));
}

// ---- the page ----

TEST(QualificationPage, ShowsEveryTable) {
  const std::string page = to_html(qualified());
  for (const char* text :
       {"Verification and invariances", "same bits", "Under load", "Siblings", "lies apart", "Prefill and decode",
        "What the device reaches", "<a href=\"./logs/soak.log\">", "wrong value after 1.500 s"})
    EXPECT_THAT(page, HasSubstr(text));
}

TEST(QualificationPage, ShowsHostileTextAsText) {
  const std::string page = to_html(qualified(kHostile));
  EXPECT_THAT(page, Not(HasSubstr("</script><b>")));
  EXPECT_THAT(page, HasSubstr("&lt;/script&gt;&lt;b&gt;"));
}

TEST(QualificationPage, IsMadeOfAnInterruptedRun) {
  Qualification q;
  q.interrupted = true;
  EXPECT_THAT(to_html(q), HasSubstr("interrupted"));
}

}  // namespace
}  // namespace mlbench::reports
