// The reference and the runs of it that are moved: logits come in parts, so as not to take more memory than all else.
#include "harness/chained_reference.h"

#include <cmath>
#include <set>

#include <gtest/gtest.h>

#include "models/presets.h"
#include "models/synthetic.h"

namespace mlbench::harness {
namespace {

struct Shown {
  ref::Tensor exact;
  std::vector<double> limits;
  TapRows rows;
};

// The logits of a call that returns those of every row, `together` at a time.
Shown logits(Index moved, Index together) {
  Workers workers{1};
  const Model model = make_synthetic(preset_config(small_preset(Architecture::olmo), {{"num_hidden_layers", 1}}),
                                     DType::f32, 1, workers);
  const ref::Reference reference(model, workers);
  const ErrorModel errors(model, {}, workers);
  Plan plan = make_plan(model.config, Extent::quick, 1);
  Shown out;
  for (const Story& story : plan) {
    if (story.calls.front().method != backends::Method::batch_verify &&
        story.calls.front().method != backends::Method::batch_prefill)
      continue;
    ChainedReference chain(reference, model, errors, 1, story.limits, moved, together);
    chain.run(story.calls.front(), [&](TapId id, const TapRows& rows, const ref::Tensor& exact, const auto& limits) {
      if (id.tap == Tap::logits) out = {exact, limits, rows};
    });
    if (out.exact.rows() > 2) return out;
  }
  ADD_FAILURE() << "no call of the plan returns several rows";
  return out;
}

TEST(ChainedReference, HasTheSameLogitsRowByRow) {
  const Shown whole = logits(0, kLogitsTogether), rows = logits(0, 1);
  EXPECT_EQ(whole.exact, rows.exact);
  EXPECT_EQ(whole.rows.positions, rows.rows.positions);
  EXPECT_EQ(whole.rows.row_sequence, rows.rows.row_sequence);
}

// Exact values do not depend on what is moved; each row gets a limit, from noise of its own.
TEST(ChainedReference, GivesEveryRowsLogitsALimitRowByRow) {
  const Shown whole = logits(kMoved, kLogitsTogether), rows = logits(kMoved, 1);
  EXPECT_EQ(whole.exact, rows.exact);
  ASSERT_EQ(rows.limits.size(), static_cast<std::size_t>(rows.exact.rows()));
  ASSERT_EQ(whole.limits.size(), rows.limits.size());
  for (const double limit : rows.limits) EXPECT_TRUE(limit > 0.0 && std::isfinite(limit)) << limit;
  EXPECT_EQ(std::set<double>(rows.limits.begin(), rows.limits.end()).size(), rows.limits.size());
}

}  // namespace
}  // namespace mlbench::harness
