// Benchmark runs and comparisons as text and as Markdown.
#include <algorithm>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "reports/bench_report.h"
#include "reports/bench_row.h"
#include "tests/reports/example_bench.h"

namespace mlbench::reports {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string line_with(const std::string& text, const std::string& part) {
  const std::size_t at = text.find(part);
  if (at == std::string::npos) return "";
  const std::size_t begin = text.rfind('\n', at) + 1;
  return text.substr(begin, text.find('\n', at) - begin);
}

// ---- a run ----

TEST(BenchText, SaysOnceWhatAllRowsHaveInCommon) {
  const std::string text = to_text(test::run_of({test::prefill_row(), test::decode_row()}), false);
  EXPECT_THAT(text, StartsWith("model llama-small, arch llama, backend cpu, device cpu, dtype f32, threads 2, batch 1, "
                               "prompt 64, gen 16, page 16\n"));
  EXPECT_THAT(line_with(text, "tokens/s"), StartsWith("method "));
  EXPECT_THAT(text, Not(HasSubstr("depth")));  // nobody asked for it
}

TEST(BenchText, HasAColumnForWhatVaries) {
  BenchRow other = test::prefill_row();
  other.point.dtype = "bf16";
  other.point.batch = 2;
  const std::string text = to_text(test::run_of({test::prefill_row(), other}), false);
  EXPECT_THAT(line_with(text, "tokens/s"), StartsWith("dtype  batch  method "));
  EXPECT_THAT(text, ContainsRegex("\nbf16 +2  batch_prefill"));
  EXPECT_THAT(text, StartsWith("model llama-small, arch llama, backend cpu, device cpu, threads 2, prompt 64"));
}

TEST(BenchText, ShowsTheFiguresOfARow) {
  const std::string text = to_text(test::run_of({test::prefill_row(), test::decode_row()}), false);
  EXPECT_THAT(text, ContainsRegex("method +tokens/s +\xc2\xb1 +time ms +p50 ms +p90 ms +p99 ms +MFU +MBU +J/token "
                                  "+memory +samples +ended by +check"));
  EXPECT_THAT(text,
              ContainsRegex("batch_prefill +640 +20% +100 +100 +n<64 +n<662 +50% +12.5% +- +300 MiB +4 +precision "
                            "+passed\n"));
  EXPECT_THAT(text, ContainsRegex("batch_decode +64 +25% +250 +100 +n<64 +n<662 +- +12.5% +0.75 +300 MiB +2 +max time "
                                  "+sampled +the warm-up ended before"));
  EXPECT_THAT(text, HasSubstr("median to within 1% at 95% confidence, or 60 s for each row\n"));
  EXPECT_THAT(text, ContainsRegex("\ncpu +cpu +f32 +2 +12.5 GB/s +40 GFLOP/s\n"));
  EXPECT_THAT(text, ContainsRegex("\ncpu +cpu +bf16 +2 +12.5 GB/s +not measured\n"));
  EXPECT_THAT(text, HasSubstr("warning: governor powersave\n"));
}

TEST(BenchText, ShowsAPercentileOnceThereAreStepsEnough) {
  BenchRow row = test::decode_row();
  row.steps.assign(2, std::vector<double>(32, 0.1));
  row.p90 = 0.11;
  const std::string text = to_text(test::run_of({row}), false);
  EXPECT_THAT(line_with(text, "sampled"), ContainsRegex(" 110 +n<662 "));
}

TEST(BenchText, SaysWhyARowHasNoFigures) {
  const std::string text = to_text(test::full_bench(), false);
  EXPECT_THAT(line_with(text, "do not fit"), ContainsRegex("128 .* - .*unsupported +128 tokens do not fit$"));
  EXPECT_THAT(line_with(text, "out of memory"), ContainsRegex("ERROR +out of memory$"));
  EXPECT_THAT(line_with(text, "FAILED"), HasSubstr("logits of position 3 stray: 17 times the limit"));
  EXPECT_THAT(line_with(text, "IMPLAUSIBLE"), HasSubstr("the device takes 0.2 s at least"));
  EXPECT_THAT(text, HasSubstr("6 rows: 1 failed, 1 implausible, 1 error, 1 sampled, 1 passed, 1 unsupported\n"));
}

TEST(BenchText, LeavesOutColumnsThatNobodyFills) {
  BenchRow row = test::prefill_row();
  row.mfu.reset();
  row.mbu.reset();
  row.peak_memory_bytes = 0;
  const std::string text = to_text(test::run_of({row}), false);
  for (const char* title : {"MFU ", "MBU ", "J/token", "memory", "remark"}) {
    EXPECT_THAT(line_with(text, "tokens/s"), Not(HasSubstr(title)));
  }
}

TEST(BenchText, MarksWhatIsUncheckedAndInterrupted) {
  BenchRun run = test::unchecked_run();
  run.interrupted = true;
  run.shard = 2;
  run.shards = 3;
  const std::string text = to_text(run, false);
  EXPECT_THAT(line_with(text, "batch_prefill"), HasSubstr("UNCHECKED"));
  EXPECT_THAT(text, HasSubstr("\nUNCHECKED: no output was compared"));
  EXPECT_THAT(text, HasSubstr("\nINTERRUPTED: "));
  EXPECT_THAT(text, HasSubstr("shard 2 of 3\n"));
}

TEST(BenchText, OfNothingIsALine) { EXPECT_THAT(to_text(BenchRun{}, false), HasSubstr("0 rows\n")); }

TEST(BenchText, ColoursWithoutMovingColumns) {
  std::string colour = to_text(test::full_bench(), true);
  EXPECT_THAT(colour, HasSubstr("\x1b[31mFAILED\x1b[0m"));
  for (std::size_t at = colour.find('\x1b'); at != std::string::npos; at = colour.find('\x1b')) {
    colour.erase(at, colour.find('m', at) - at + 1);
  }
  EXPECT_EQ(colour, to_text(test::full_bench(), false));
}

TEST(BenchText, KeepsForeignTextInItsLine) {
  const BenchRun run = test::hostile_run("a\nb\x1b[2J");
  const std::string text = to_text(run, false);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(std::ranges::count(text, '\n'), std::ranges::count(to_text(test::hostile_run("x"), false), '\n'));
}

TEST(BenchText, OfProbes) {
  const std::vector<ProbeResult> probes = {{"cpu", "cpu", "f32", 1, 9.5e8, 0.0}};
  EXPECT_EQ(to_text(probes),
            "backend  device  dtype  threads     reads      products\n"
            "cpu      cpu     f32          1  950 MB/s  not measured\n");
}

// ---- figures ----

TEST(BenchFigures, HaveFourDigitsAndNoExponentInTheUsualRange) {
  EXPECT_EQ(figure(1234567.8), "1234568");
  EXPECT_EQ(figure(999.96), "1000");
  EXPECT_EQ(figure(12.3456), "12.35");
  EXPECT_EQ(figure(0.00123456), "0.001235");
  EXPECT_EQ(figure(0.0), "0");
  EXPECT_EQ(figure(1.0 / 0.0), "not finite");
  EXPECT_EQ(plus_minus({2.0, 1.0, 2.5}), "50%");
  EXPECT_EQ(plus_minus({0.0, 0.0, 1.0}), "?");
  EXPECT_EQ(plus_minus({1.0, 0.5, 1.0 / 0.0}), "?");
  EXPECT_EQ(mebibytes(1), "1 MiB");
  EXPECT_EQ(scaled(999.0, "B/s"), "999 B/s");
}

TEST(BenchFigures, MomentsOfFewSamples) {
  EXPECT_EQ(moments_of({}).mean, 0.0);
  EXPECT_EQ(moments_of({3.0}).median, 3.0);
  EXPECT_EQ(moments_of({3.0}).deviation, 0.0);
  const Moments m = moments_of({4.0, 1.0, 3.0, 2.0});
  EXPECT_EQ(m.median, 2.5);
  EXPECT_EQ(m.mean, 2.5);
  EXPECT_DOUBLE_EQ(m.deviation, std::sqrt(5.0 / 3.0));
}

TEST(BenchFigures, TokensAreThoseOfAllSequences) {
  BenchRow row = test::prefill_row();
  row.point.batch = 3;
  EXPECT_EQ(tokens_of(row), 3.0 * 64);
  row.decode = true;
  EXPECT_EQ(tokens_of(row), 3.0 * 16);
  row.decode = false;
  row.method = "pg";
  EXPECT_EQ(tokens_of(row), 3.0 * 80);
}

// ---- comparisons ----

TEST(CompareText, ShowsRatioVerdictAndWhatWouldDecide) {
  const std::string text = to_text(test::full_comparison(), false);
  EXPECT_THAT(text, StartsWith("base a.json\nnew  b.json\na change of the median by 2% counts, at 99% confidence\n"));
  EXPECT_THAT(text,
              ContainsRegex("\n +32  batch_prefill +100 +20 +110 +21 +1.1 \\(1.08 to 1.12\\) +0.001 +SLOWER +-\n"));
  EXPECT_THAT(text, ContainsRegex("\n +64 .*undecided +40 samples\n"));
  EXPECT_THAT(text, ContainsRegex("\n +512 .*undecided +no number of samples\n"));
  EXPECT_THAT(text, ContainsRegex("\n +1024 .* - .*not compared +device differs: cpu A, cpu B\n"));
  EXPECT_THAT(text, HasSubstr("\nonly in base: llama-small cpu f32, 2 threads, batch 9"));
  EXPECT_THAT(text, HasSubstr("\nonly in new: llama-small cpu f32, 2 threads, batch 8"));
  EXPECT_THAT(text, HasSubstr("\nwarning: foreign load\n"));
  EXPECT_THAT(text, HasSubstr("\n7 rows: 2 slower, 2 undecided, 1 not compared, 1 same, 1 faster\n"));
}

TEST(CompareText, OfNothingIsShort) { EXPECT_THAT(to_text(BenchComparison{}, false), HasSubstr("\n0 rows\n")); }

// ---- Markdown ----

TEST(BenchMarkdown, HasATableWithWhatFailedFirst) {
  const std::string text = to_markdown(test::full_bench());
  EXPECT_THAT(text, StartsWith("### mlbench bench: 6 rows: 1 failed, "));
  const std::size_t failed = text.find("**failed**"), error = text.find("**error**"), passed = text.find("| passed |");
  EXPECT_LT(failed, passed);
  EXPECT_LT(error, passed);
  EXPECT_NE(passed, std::string::npos);
  EXPECT_THAT(text, HasSubstr("128 tokens do not fit"));
  EXPECT_THAT(text, HasSubstr("- warning: <code>governor powersave</code>\n"));
}

TEST(BenchMarkdown, MarksWhatIsUnchecked) {
  const std::string text = to_markdown(test::unchecked_run());
  EXPECT_THAT(text, HasSubstr("**Unchecked**"));
  EXPECT_THAT(text, HasSubstr("| _unchecked_ |"));
}

TEST(CompareMarkdown, HasTheWorstFirst) {
  const std::string text = to_markdown(test::full_comparison());
  EXPECT_THAT(text, StartsWith("### mlbench compare: slower\n"));
  std::vector<std::size_t> places;
  for (const char* prompt : {"256", "32", "64", "512", "1024", "16", "128"}) {
    places.push_back(text.find(fmt::format("\n| <code>{}</code> |", prompt)));
    EXPECT_NE(places.back(), std::string::npos) << prompt;
  }
  EXPECT_TRUE(std::ranges::is_sorted(places));
  EXPECT_THAT(to_markdown(test::comparison_of({test::compared(1, Difference::same, 1.0)})),
              StartsWith("### mlbench compare: same\n"));
}

// 65536 characters are what GitHub takes; a byte is never more than one.
TEST(BenchMarkdown, StaysBelowWhatGitHubTakes) {
  BenchRow row = test::failed_row();
  row.check_text = row.point.model = std::string(5000, '<');
  BenchRun run = test::run_of(std::vector<BenchRow>(2000, row));
  run.rows[0].point.model = "other";
  run.environment.warnings.assign(2000, std::string(5000, '&'));
  EXPECT_LT(to_markdown(run).size(), 65536U);
  EXPECT_THAT(to_markdown(run), ContainsRegex("\n19[0-9]+ more\n"));

  BenchComparison comparison =
      test::comparison_of(std::vector<ComparedRow>(2000, test::compared(1, Difference::slower, 1.1)));
  comparison.rows[0].point.model = comparison.base = comparison.next = std::string(5000, '@');
  comparison.only_base = comparison.only_new = comparison.warnings = run.environment.warnings;
  EXPECT_LT(to_markdown(comparison).size(), 65536U);
  EXPECT_THAT(to_markdown(comparison), HasSubstr(" more\n"));
}

TEST(BenchMarkdown, TreatsForeignTextAsText) {
  const std::string text = to_markdown(test::hostile_run("<img src=x> | @all #1 **x**\n# y"));
  for (const char* markup : {"<img", "@all", "#1 ", "\n# y", "**x**"}) EXPECT_THAT(text, Not(HasSubstr(markup)));
}

}  // namespace
}  // namespace mlbench::reports
