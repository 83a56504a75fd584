#include "harness/isolated.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "harness/adversarial.h"
#include "harness/cache_check.h"
#include "harness/check_tap.h"
#include "harness/collectives.h"
#include "harness/dirty_cache.h"
#include "harness/exact.h"
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
        report_(report),
        collectives_(place, model, given, report) {}

  [[nodiscard]] bool wants(TapId) const override { return true; }

  void take(TapId id, const Tensor& value) override {
    instead_.reset();
    const bool product = id.tap == Tap::attn_out || id.tap == Tap::mlp_out;
    if (product) {
      collectives_.check_parts(id, known_);
      collectives_.check_sum_of(id);  // before what comes of it, so that it is blamed first
    }
    if (id.tap == Tap::layer_out) {
      collectives_.check_block(id.layer);
      if (Tensor error = collectives_.block_error(id.layer); error.size() != 0)
        known_[Tap::mlp_out].error = std::move(error);
    }
    const TapSpec& spec = spec_of(specs_, id.tap);
    Known exact{replica_of(value, spec.layout, replicas_, kJudged), {}};
    exact.error = model_.bound(id, exact.value, known_, attention_);
    if (place_.inputs == Inputs::exact) exact = exact_tap(id, exact.value, exact.error, known_, attention_, model_);
    const Tensor &expected = exact.value, &bound = exact.error;
    const HostTensor* given = given_.find(id);
    if (given == nullptr) {
      known_[key(id)] = std::move(exact);
      return;
    }
    if (given->shape() != expected.shape()) throw wrong_tap_shape(id, expected.shape(), given->shape());
    Tensor got = given->widened();
    const std::function<double(Index)> limit = limit_by_element(bound);
    const Sight sight{spec.layout, expected, got, limit, &known_};
    report_(check_tap(place_, spec, id, model_.type_of(id.tap), expected, got, limit), &sight);
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
  CollectiveChecks collectives_;
  std::optional<Tensor> instead_;
};

class IsolatedRun {
 public:
  IsolatedRun(const Story& story, const ref::Reference& reference, const ErrorModel& model, backends::Session& session,
              const IsolatedOptions& options, const Report& report)
      : reference_(reference),
        model_(model),
        session_(session),
        options_(options),
        report_(report),
        specs_(tap_specs(reference.config())),
        replicas_(reference, story.limits, kReplicas),
        cache_(session.create_paged_kv_cache(story.limits)),
        cache_check_(*cache_, replicas_, kJudged, options.fault) {
    make_dirty(reference.config(), story.limits, session, *cache_, options.fault);
  }

  void run(const Call& call) {
    for (const CacheOperation& operation : call.before) apply(operation, *cache_);
    cache_->begin_forward(call.ids, call.lengths, call.tree_parents);
    replicas_.begin(call);
    const VerifyMode mode = options_.inputs == Inputs::exact ? VerifyMode::exact : VerifyMode::isolated;
    place_ = {mode, options_.inputs, &call, {replicas_.positions(call), call.row_sequences()}};
    cache_check_.begin(call, cache_->get_query_positions());
    known_.clear();
    pass_.emplace(reference_.pass(replicas_.cache()));

    HostTensor x = embed(call);
    x = part({Part::Kind::enter, -1}, x);
    for (Index layer = 0; layer < reference_.config().num_layers; ++layer) x = part({Part::Kind::layer, layer}, x);
    x = part({Part::Kind::final_norm, -1}, x);
    cache_->end_forward();
    replicas_.end();
    cache_check_.end(place_, reference_.config(), model_.arithmetic().kv_cache, report_);
    if (options_.inputs == Inputs::exact) put_integers(call);
    select(call, x);
    logits(call, x.widened());
  }

  void finish(const Story& story) { cache_check_.finish(story.name); }

 private:
  [[nodiscard]] HostTensor rounded(const Tensor& x) const { return {model_.arithmetic().activations, x}; }

  // The embedded tokens, on both sides.
  HostTensor embed(const Call& call) {
    const Tensor own = reference_.embed(call.tokens);
    GuardedTensor out(model_.arithmetic().activations, own.shape());
    session_.embed(call.tokens, out.view());
    out.check(call.label + " embed", options_.fault);
    const bool positions_follow = reference_.config().architecture == Architecture::gpt_bigcode;
    const TapId id{positions_follow ? Tap::embed_token : Tap::embed, -1};
    const Tensor bound = model_.bound(id, own, {}, {});
    const Tensor got = out.values().widened();
    const std::function<double(Index)> limit = limit_by_element(bound);
    const Sight sight{TapLayout::rows, own, got, limit};
    report_(check_tap(place_, spec_of(specs_, id.tap), id, model_.type_of(id.tap), own, got, limit), &sight);
    return rounded(own);
  }

  // Values that later calls sum up without rounding, in every entry of the call's sequences, on both sides.
  void put_integers(const Call& call) {
    const DType type = model_.arithmetic().kv_cache;
    for (const SeqId id : call.ids) {
      const Index count = cache_->sequence_length(id);
      const Tensor entries = integer_entries(reference_.config(), count, static_cast<std::uint64_t>(id));
      const HostTensor stored(type, entries);
      cache_->debug_set_kv(id, 0, stored.view(), stored.view());
      replicas_.set_entries(id, {entries, entries});
    }
  }

  // Rows by number, in an order of their own and one of them twice: copies, to the bit.
  void select(const Call& call, const HostTensor& x) {
    std::vector<std::int32_t> rows;
    for (Index row = call.rows(); row-- > 0;) rows.push_back(static_cast<std::int32_t>(row));
    rows.push_back(static_cast<std::int32_t>(call.rows() / 2));
    const Tensor expected = reference_.batch_select_last_hidden_states(x.widened(), rows);
    GuardedTensor out(x.dtype(), expected.shape());
    session_.batch_select_last_hidden_states(x.view(), rows, out.view());
    out.check(call.label + " batch_select", options_.fault);
    const Tensor got = out.values().widened();
    const std::function<double(Index)> limit = [](Index) { return 0.0; };
    const TapId like{Tap::final_norm, -1};  // rows of the same shape
    TapCheck check = check_tap(of_rows(rows), spec_of(specs_, like.tap), like, x.dtype(), expected, got, limit);
    check.tap = check.kind = "batch_select";
    const Sight sight{TapLayout::rows, expected, got, limit};
    report_(std::move(check), &sight);
  }

  // Runs one part on both sides and returns the reference's own result, as the next part's input.
  HostTensor part(const Part& part, const HostTensor& own) {
    const HostTensor x =
        options_.inputs == Inputs::adversarial ? rounded(adversarial_rows(own.widened(), reference_.config())) : own;
    GivenTaps given;
    GuardedTensor input(x), out(x.dtype(), x.shape());
    session_.run_part(part, input.view(), *cache_, out.view(), &given);
    const std::string where = fmt::format("{}, {}", place_.call->label, to_string(result_of(part)));
    input.check(where, options_.fault);
    out.check(where, options_.fault);
    given.put(result_of(part), out.values());

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
    const HostTensor chosen = rounded(logits_input(reference_.batch_select_last_hidden_states(hidden, rows)));
    GuardedTensor input(chosen), out(DType::f32, Shape{chosen.shape()[0], reference_.config().vocab_size});
    session_.get_logits(input.view(), out.view());
    input.check(call.label + " get_logits", options_.fault);
    out.check(call.label + " get_logits", options_.fault);
    GivenTaps given;
    given.put({Tap::logits, -1}, out.values());
    const TapPlace place = of_rows(rows);
    KnownTaps known;
    known[kPartInput] = {chosen.widened(), {}};
    Judge judge(place, specs_, model_, given, known, {}, 1, report_);
    (void)reference_.output_layer(chosen.widened(), &judge);
  }

  [[nodiscard]] Tensor logits_input(const Tensor& hidden) const {
    switch (options_.inputs) {
      case Inputs::random: return hidden;
      case Inputs::exact: return integer_rows(hidden.rows(), hidden.cols(), 1);
      case Inputs::adversarial: return adversarial_hidden(hidden, model_.model());
    }
    return hidden;
  }

  [[nodiscard]] TapPlace of_rows(const std::vector<std::int32_t>& rows) const {
    TapPlace out{place_.mode, place_.inputs, place_.call, {}};
    for (const std::int32_t row : rows) {
      out.rows.positions.push_back(place_.rows.positions[static_cast<std::size_t>(row)]);
      out.rows.row_sequence.push_back(place_.rows.row_sequence[static_cast<std::size_t>(row)]);
    }
    return out;
  }

  const ref::Reference& reference_;
  const ErrorModel& model_;
  backends::Session& session_;
  const IsolatedOptions& options_;
  const Report& report_;
  std::vector<TapSpec> specs_;
  Replicas replicas_;
  std::unique_ptr<backends::KvCache> cache_;
  CacheCheck cache_check_;
  TapPlace place_;
  KnownTaps known_;  // the rotation of this call
  std::optional<ref::ForwardPass> pass_;
};

}  // namespace

void verify_isolated(const Story& story, const ref::Reference& reference, const ErrorModel& model,
                     backends::Session& session, const IsolatedOptions& options, const Report& report) {
  IsolatedRun run(story, reference, model, session, options, report);
  for (const Call& call : story.calls) run.run(call);
  run.finish(story);
}

}  // namespace mlbench::harness
