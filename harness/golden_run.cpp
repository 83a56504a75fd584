#include "harness/golden_run.h"

namespace mlbench::harness {
namespace {

using ref::PagedKvCache;
using ref::Tensor;

// Shows the taps of one call to the listener, with the call beside them.
class StepSink final : public ref::TapSink {
 public:
  StepSink(const RunStep& step, RunListener& listener) : step_(step), listener_(listener) {}
  [[nodiscard]] bool wants(TapId id) const override { return listener_.wants(step_, id); }
  void take(TapId id, const Tensor& value) override { listener_.take(step_, id, value); }

 private:
  const RunStep& step_;
  RunListener& listener_;
};

void selected_logits(const ref::Reference& reference, const Call& call, const RunStep& step, const Tensor& hidden,
                     RunListener& listener) {
  RunStep selected = step;
  selected.label = "batch_prefill_logits";
  selected.sequences = static_cast<Index>(call.logit_positions.size());
  selected.row_sequence.clear();
  selected.positions.clear();
  const Tensor logits = reference.get_logits(reference.batch_select_last_hidden_states(hidden, call.logit_positions));
  for (const std::int32_t row : call.logit_positions) {  // they exist, since they were selected
    selected.row_sequence.push_back(step.row_sequence[static_cast<std::size_t>(row)]);
    selected.positions.push_back(step.positions[static_cast<std::size_t>(row)]);
  }
  listener.take_selected_logits(selected, logits);
}

// One call, with logits for every row.
void forward(const ref::Reference& reference, const Call& call, PagedKvCache& cache, RunListener& listener) {
  for (const CacheOperation& operation : call.before) apply(operation, cache);
  const Tensor x = reference.embed(call.tokens);
  cache.begin_forward(call.ids, call.lengths, call.tree_parents);
  const RunStep step{*call.golden, call.label, static_cast<Index>(call.ids.size()), call.row_sequences(),
                     cache.get_query_positions()};
  StepSink sink(step, listener);
  const Tensor hidden = reference.batch_forward_to_last_hidden_states(x.reshaped({1, x.rows(), x.cols()}), cache, &sink)
                            .reshaped({x.rows(), x.cols()});
  if (sink.wants({Tap::logits, -1})) sink.take({Tap::logits, -1}, reference.get_logits(hidden));
  cache.end_forward();
  if (call.golden->also_selected) selected_logits(reference, call, step, hidden, listener);
}

}  // namespace

void run_golden(const ref::Reference& reference, const Plan& plan, RunListener& listener) {
  for (const Story& story : plan) {
    PagedKvCache cache = reference.create_paged_kv_cache(story.limits);
    for (const Call& call : story.calls) forward(reference, call, cache, listener);
  }
}

}  // namespace mlbench::harness
