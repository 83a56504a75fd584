#include "reports/golden_run.h"

#include <gmock/gmock.h>

namespace mlbench::reports {
namespace {

using Verdict = BackendVerification::Verdict;

TapResult comparison(const std::string& tap, Index layer, bool passed) {
  TapResult out;
  out.method = "prefill";
  out.step = "decode/2";
  out.tap = tap;
  out.layer = layer;
  out.elements = 10;
  out.max_error = passed ? 0.5 : 3.0;
  out.limit = 1.0;
  out.passed = passed;
  if (!passed) out.worst = Mismatch{1, 7, "[3]", 1.0, 4.0};
  return out;
}

GoldenVerification golden_of(std::vector<TapResult> taps) {
  GoldenVerification golden;
  golden.golden = "golden.h5";
  golden.backend = "reference";
  golden.taps = std::move(taps);
  golden.result_datasets = golden.compared_datasets = static_cast<Index>(golden.taps.size());
  return golden;
}

TEST(GoldenRun, HasACheckForEachComparison) {
  const BackendVerification run =
      as_run(golden_of({comparison("embed", -1, true), comparison("layers.3.attn.q", 3, false)}));
  ASSERT_EQ(run.checks.size(), 2U);
  EXPECT_EQ(run.checks[0].kind, "embed");
  EXPECT_EQ(run.checks[0].ratio, 0.5);
  EXPECT_EQ(run.checks[1].kind, "attn.q");
  EXPECT_EQ(run.checks[1].call, "decode/2");
  EXPECT_EQ(run.checks[1].worst->computed, 4.0);
  EXPECT_EQ(run.verdict(), Verdict::failed);
  EXPECT_EQ(run.first_failure(), &run.checks[1]);
}

TEST(GoldenRun, PassesAsTheVerificationDoes) {
  GoldenVerification golden = golden_of({comparison("embed", -1, true)});
  EXPECT_EQ(as_run(golden).verdict(), Verdict::passed);
  golden.result_datasets = 2;
  golden.uncompared = {{"/a", "no tap"}};
  const BackendVerification run = as_run(golden);
  EXPECT_FALSE(golden.passed());
  EXPECT_EQ(run.verdict(), Verdict::failed);
  EXPECT_EQ(run.faults.at(0).code, "golden.uncompared");
  EXPECT_EQ(run.unsupported.at(0).what, "/a");
}

}  // namespace
}  // namespace mlbench::reports
