// Summaries for pull requests.
#include "reports/markdown.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gmock/gmock.h>

#include "reports/figures.h"
#include "tests/reports/example_run.h"

namespace mlbench::reports {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string markdown(const std::vector<BackendVerification>& runs) { return to_markdown(runs); }

TEST(Markdown, BeginsWithTheVerdictOfAll) {
  EXPECT_THAT(markdown({test::passed_run()}), StartsWith("### mlbench verify: passed\n\n1 run: 1 passed\n"));
  EXPECT_THAT(markdown({test::passed_run(), test::failed_run(), test::broken_run(), test::untrusted_run()}),
              StartsWith("### mlbench verify: failed\n\n4 runs: 1 passed, 1 failed, 1 untrusted, 1 error\n"));
  EXPECT_THAT(markdown({}), StartsWith("### mlbench verify: unsupported\n\n0 runs: none\n"));
}

TEST(Markdown, HasARowForEachRun) {
  const std::string text = markdown({test::passed_run(), test::failed_run()});
  EXPECT_THAT(
      text,
      HasSubstr("| model | arch | backend | dtype | verdict | checks | failed | worst isolated | worst chained |\n"
                "|---|---|---|---|---|---:|---:|---:|---:|\n"));
  EXPECT_THAT(text,
              HasSubstr("| <code>llama-small</code> | <code>llama</code> | <code>cpu</code> | <code>bf16</code> | "
                        "passed | 5 | 0 | 0.5 | 0.75 |\n"));
  EXPECT_THAT(text, HasSubstr("| **FAILED** | 5 | 2 | 500 | 2 |\n"));
}

TEST(Markdown, SaysNoMoreOfRunsThatPassed) { EXPECT_THAT(markdown({test::passed_run()}), Not(HasSubstr("####"))); }

TEST(Markdown, OfAFailureShowsCausesTheFirstTapAndTheCommand) {
  const std::string text = markdown({test::full_run()});
  EXPECT_THAT(text, HasSubstr("- fault <code>memory.canary</code> in <code>single/0 prefill, logits</code>: "));
  EXPECT_THAT(text, HasSubstr("- schedules <code>chunked and page size 1"));
  EXPECT_THAT(text, Not(HasSubstr("whole and page size 1")));  // within its limits
  EXPECT_THAT(text, HasSubstr("- invariance <code>taps on = off"));
  EXPECT_THAT(text, Not(HasSubstr("invariance <code>batch")));  // need not hold
  EXPECT_THAT(
      text,
      HasSubstr("| isolated, exact | <code>attn.q</code> | 2 | 1 | 1 | <code>halves of a head are swapped</code> | "
                "<code>single/0 prefill</code> | 500 |\n"));
  EXPECT_THAT(text, HasSubstr("\nFirst tap that strays: <code>isolated prefill "));
  EXPECT_THAT(text,
              HasSubstr("\nAgain:\n\n```\nmlbench verify --preset llama-small --call \"single/0 prefill\"\n```\n"));
}

TEST(Markdown, OfUntrustedAndBrokenRunsShowsTheReason) {
  const std::string text = markdown({test::untrusted_run(), test::broken_run(), test::unsupported_run()});
  EXPECT_THAT(text,
              HasSubstr("- untrusted <code>untrusted.constant</code>: <code>two prompts gave equal logits</code>\n"));
  EXPECT_THAT(text, HasSubstr("- the backend failed: <code>backend.failed"));
  EXPECT_THAT(text, HasSubstr("- unsupported: <code>dtype bf16</code>: <code>no hardware for it</code>\n"));
}

TEST(Markdown, LeavesNoTextFromOutsideAsMarkup) {
  const std::string text =
      markdown({test::run_full_of("<img src=x>|`**[a](http://b)*_x_ @all #1 \\ ~~\n# head\x1b &lt;")});
  for (const char* markup : {"<img", "|`", "**[", "](", "http://", " @", " #1", "\n# head", "\x1b", "&lt;", "~~"}) {
    // The command stands in a block, where nothing is markup.
    EXPECT_THAT(text.substr(0, text.find("Again:")), Not(HasSubstr(markup))) << markup;
  }
}

TEST(Markdown, KeepsTheColumnsOfItsTablesWhateverStandsInThem) {
  const auto pipes = [](const std::vector<BackendVerification>& runs) {
    const std::string all = markdown(runs), text = all.substr(0, all.find("Again:"));
    std::vector<std::ptrdiff_t> counts;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      if (text[at] == '|')
        counts.push_back(std::count(text.begin() + static_cast<std::ptrdiff_t>(at),
                                    text.begin() + static_cast<std::ptrdiff_t>(end), '|'));
      at = end + 1;
    }
    return counts;
  };
  EXPECT_EQ(pipes({test::run_full_of("a|b\\|c\n|d|")}), pipes({test::run_full_of("a")}));
}

TEST(MarkdownBlock, IsNotEndedByWhatStandsInIt) {
  EXPECT_EQ(markdown_block("a"), "```\na\n```\n");
  EXPECT_EQ(markdown_block("a\n```\n<b>"), "````\na\n```\n<b>\n````\n");
  EXPECT_EQ(markdown_block("`````"), "``````\n`````\n``````\n");
}

TEST(MarkdownCode, KeepsWordsAndEscapesTheRest) {
  EXPECT_EQ(markdown_code("layers.3.attn.q_norm"), "<code>layers.3.attn.q_norm</code>");
  EXPECT_EQ(markdown_code("caf\xc3\xa9 _a_ www.b"), "<code>caf\xc3\xa9 &#95;a_ www&#46;b</code>");
  EXPECT_EQ(markdown_code(""), "");
}

// What GitHub takes as one comment.
TEST(Markdown, OfVeryManyFailuresStaysShort) {
  std::vector<TapCheck> checks;
  for (int i = 0; i < 3000; ++i)
    checks.push_back(test::failing(test::kIsolated, "single/0 prefill", "tap" + std::to_string(i), i, 2.0));
  BackendVerification run = test::run_of(checks);
  run.faults.assign(3000, {"memory.canary", "somewhere", "something"});
  const std::string text = markdown({run});
  EXPECT_LT(text.size(), 65536U);
  EXPECT_THAT(text, HasSubstr("\n2980 more causes\n"));
  EXPECT_THAT(text, HasSubstr("\n- 2980 more\n"));
}

TEST(Markdown, SurvivesFiguresThatAreNone) {
  for (const double figure : {std::numeric_limits<double>::infinity(), std::nan("")})
    EXPECT_THAT(markdown({test::run_full_of(figure)}), HasSubstr("| not finite |"));
}

TEST(Markdown, IsUtf8WhateverItIsGiven) {
  EXPECT_TRUE(nlohmann::json(markdown({test::run_full_of("\xff\xfe caf\xc3")})).dump().size() > 0);
}

}  // namespace
}  // namespace mlbench::reports
