#include "harness/isolated.h"

#include <algorithm>
#include <cmath>

#include "harness/check_tap.h"
#include "harness/given_taps.h"
#include "harness/replicas.h"

namespace mlbench::harness {
namespace {

using backends::Part;
using ref::Tensor;

// Replica 0 is judged: it goes on with the backend's taps. Replica 1 is the reference's own chain, whose values are the
// inputs of all parts.
constexpr Index kReplicas = 2;
constexpr Index kJudged = 0, kOwn = 1;

bool all_finite(const Tensor& x) {
  return std::ranges::all_of(x.values(), [](double value) { return std::isfinite(value); });
}

// Holds the taps of one part against the reference while it computes that part.
class Judge final : public ref::TapSink {
 public:
  Judge(const TapPlace& place, const std::vector<TapSpec>& specs, const ErrorModel& model, const GivenTaps& given,
        KnownTaps& known, const AttentionInputs& attention, Index replicas, const Report& report)
      : place_(place),
        specs_(specs),
        model_(model),
        given_(given),
        known_(known),
        attention_(attention),
        replicas_(replicas),
        report_(report) {}

  [[nodiscard]] bool wants(TapId) const override { return true; }

  void take(TapId id, const Tensor& value) override {
    instead_.reset();
    const TapSpec& spec = spec_of(specs_, id.tap);
    const Tensor expected = replica_of(value, spec.layout, replicas_, kJudged);
    const Tensor bound = model_.bound(id, expected, known_, attention_);
    const HostTensor* given = given_.find(id);
    if (given == nullptr) {
      known_[key(id)] = {expected, bound};
      return;
    }
    if (given->shape() != expected.shape()) throw wrong_tap_shape(id, expected.shape(), given->shape());
    Tensor got = given->widened();
    report_(check_tap(place_, spec, id, expected, got,
                      [&](Index i) { return bound.values()[static_cast<std::size_t>(i)]; }));
    if (!all_finite(got)) got = expected;  // one report of it is enough
    instead_ = value;
    set_replica(*instead_, spec.layout, replicas_, kJudged, got);
    known_[key(id)] = {std::move(got), {}};
  }

  std::optional<Tensor> replacement(TapId) override { return std::move(instead_); }

 private:
  // A part's input stands under the name of layer 0's; what comes out of one is the next one's.
  static Tap key(TapId id) { return id.tap; }

  const TapPlace& place_;
  const std::vector<TapSpec>& specs_;
  const ErrorModel& model_;
  const GivenTaps& given_;
  KnownTaps& known_;
  const AttentionInputs& attention_;
  Index replicas_;
  const Report& report_;
  std::optional<Tensor> instead_;
};

class IsolatedRun {
 public:
  IsolatedRun(const Story& story, const ref::Reference& reference, const ErrorModel& model, backends::Session& session,
              const Report& report)
      : reference_(reference),
        model_(model),
        session_(session),
        report_(report),
        specs_(tap_specs(reference.config())),
        replicas_(reference, story.limits, kReplicas),
        cache_(session.create_paged_kv_cache(story.limits)) {}

  void run(const Call& call) {
    for (const CacheOperation& operation : call.before) apply(operation, *cache_);
    cache_->begin_forward(call.ids, call.lengths, call.tree_parents);
    replicas_.begin(call);
    place_ = {VerifyMode::isolated, &call, {cache_->get_query_positions(), call.row_sequences()}};
    known_.clear();
    pass_.emplace(reference_.pass(replicas_.cache()));

    HostTensor x = rounded(reference_.embed(call.tokens));
    x = part({Part::Kind::enter, -1}, x);
    for (Index layer = 0; layer < reference_.config().num_layers; ++layer) x = part({Part::Kind::layer, layer}, x);
    x = part({Part::Kind::final_norm, -1}, x);
    cache_->end_forward();
    replicas_.end();
    logits(call, x.widened());
  }

 private:
  [[nodiscard]] HostTensor rounded(const Tensor& x) const { return {model_.arithmetic().activations, x}; }

  // Runs one part on both sides and returns the reference's own result, as the next part's input.
  HostTensor part(const Part& part, const HostTensor& x) {
    GivenTaps given;
    HostTensor out(x.dtype(), x.shape());
    session_.run_part(part, x.view(), *cache_, out.view(), &given);
    given.put(result_of(part), std::move(out));

    KnownTaps known;
    for (const Tap rotation : {Tap::rope_cos, Tap::rope_sin}) {
      if (known_.contains(rotation)) known[rotation] = known_[rotation];
    }
    known[kPartInput] = {x.widened(), {}};
    const AttentionInputs attention{&replicas_.cache(), part.layer, static_cast<Index>(place_.rows.positions.size())};
    Judge judge(place_, specs_, model_, given, known, attention, kReplicas, report_);
    const Tensor both = reference_part(part, replicas_.tiled(known[kPartInput].value), judge);
    if (part.kind == Part::Kind::enter) known_ = std::move(known);
    return rounded(replica_of(both, TapLayout::rows, kReplicas, kOwn));
  }

  static TapId result_of(const Part& part) {
    switch (part.kind) {
      case Part::Kind::enter: return {Tap::embed, -1};
      case Part::Kind::layer: return {Tap::layer_out, part.layer};
      case Part::Kind::final_norm: return {Tap::final_norm, -1};
    }
    return {};
  }

  Tensor reference_part(const Part& part, const Tensor& x, Judge& judge) {
    switch (part.kind) {
      case Part::Kind::enter: return reference_.enter(x, *pass_, &judge);
      case Part::Kind::layer: return reference_.layer(part.layer, x, *pass_, &judge);
      case Part::Kind::final_norm: return reference_.final_norm(x, &judge);
    }
    return {};
  }

  // The output layer on the reference's own hidden rows, those that the method would return.
  void logits(const Call& call, const Tensor& hidden) {
    if (backends::returns_hidden(call.method)) return;
    const std::vector<std::int32_t> rows = call.result_rows();
    const Tensor chosen = reference_.batch_select_last_hidden_states(hidden, rows);
    HostTensor out(DType::f32, Shape{chosen.rows(), reference_.config().vocab_size});
    session_.get_logits(rounded(chosen).view(), out.view());
    GivenTaps given;
    given.put({Tap::logits, -1}, std::move(out));
    const TapPlace place = of_rows(rows);
    KnownTaps known;
    known[kPartInput] = {chosen, {}};
    Judge judge(place, specs_, model_, given, known, {}, 1, report_);
    (void)reference_.output_layer(chosen, &judge);
  }

  [[nodiscard]] TapPlace of_rows(const std::vector<std::int32_t>& rows) const {
    TapPlace out{place_.mode, place_.call, {}};
    for (const std::int32_t row : rows) {
      out.rows.positions.push_back(place_.rows.positions[static_cast<std::size_t>(row)]);
      out.rows.row_sequence.push_back(place_.rows.row_sequence[static_cast<std::size_t>(row)]);
    }
    return out;
  }

  const ref::Reference& reference_;
  const ErrorModel& model_;
  backends::Session& session_;
  const Report& report_;
  std::vector<TapSpec> specs_;
  Replicas replicas_;
  std::unique_ptr<backends::KvCache> cache_;
  TapPlace place_;
  KnownTaps known_;  // the rotation of this call
  std::optional<ref::ForwardPass> pass_;
};

}  // namespace

void verify_isolated(const Story& story, const ref::Reference& reference, const ErrorModel& model,
                     backends::Session& session, const Report& report) {
  IsolatedRun run(story, reference, model, session, report);
  for (const Call& call : story.calls) run.run(call);
}

}  // namespace mlbench::harness
