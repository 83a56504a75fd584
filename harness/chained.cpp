#include "harness/chained.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "harness/adversarial.h"
#include "harness/cache_check.h"
#include "harness/chained_reference.h"
#include "harness/check_tap.h"
#include "harness/collectives.h"
#include "harness/dirty_cache.h"

namespace mlbench::harness {

using ref::Tensor;

namespace {

// T [N, h]: the call's tokens, embedded by the backend.
HostTensor embedded(const Call& call, const ModelConfig& config, backends::Session& session, const FaultReport& fault) {
  GuardedTensor out(session.arithmetic().activations, Shape{call.rows(), config.hidden_size});
  session.embed(call.tokens, out.view());
  out.check(call.label + " embed", fault);
  return out.values();
}

// The first rows of a matrix of a type, and behind them rows that are no number.
HostTensor with_padding(const HostTensor& rows, const Shape& shape) {
  HostTensor out(rows.dtype(), shape);
  std::ranges::fill(out.bytes(), std::byte{0xff});
  std::ranges::copy(rows.bytes(), out.bytes().begin());
  return out;
}

// The first `rows` rows of a result, as a matrix.
HostTensor first_rows(const HostTensor& result, Index rows) {
  HostTensor out(result.dtype(), Shape{rows, result.shape().back()});
  std::copy_n(result.bytes().begin(), out.bytes().size(), out.bytes().begin());
  return out;
}

// Of a tap that did not come: what a backend says that it gives is compared, or nobody notices that it no longer is.
// The last rows are the call's result.
void require_not_promised(const Call& call, TapId id, const backends::Session& session, const FaultReport& fault) {
  if (!fault || id.tap == Tap::final_norm || id.tap == Tap::logits || !session.gives(id.tap)) return;
  fault({"tap.not_given", fmt::format("{} {}", call.label, to_string(id)),
         "the backend says that it gives this tap, and did not"});
}

}  // namespace

GivenTaps run_call(const Call& call, const ModelConfig& config, backends::Session& session, backends::KvCache& cache,
                   const CallOptions& options) {
  for (const CacheOperation& operation : call.before) apply(operation, cache);
  GivenTaps given = options.taps ? GivenTaps(*options.taps) : GivenTaps();
  const HostTensor rows = options.rows != nullptr ? *options.rows : embedded(call, config, session, options.fault);
  GuardedTensor x(with_padding(rows, call.input_shape(config.hidden_size)));
  const bool hidden = backends::returns_hidden(call.method), bare = options.taps && options.taps->empty();
  GuardedTensor out(hidden ? rows.dtype() : DType::f32, call.result_shape(config));

  cache.begin_forward(call.ids, call.lengths, call.tree_parents);
  given.set_positions(cache.get_query_positions());
  session.forward(call.method, x.view(), call.logit_positions, cache, out.view(), bare ? nullptr : &given);
  session.synchronize();
  cache.end_forward();
  const auto results = static_cast<Index>(call.result_rows().size());
  const Index width = hidden ? config.hidden_size : config.vocab_size;
  x.check(call.label, options.fault);
  out.check(call.label, options.fault, results * width);
  given.put({hidden ? Tap::final_norm : Tap::logits, -1}, first_rows(out.values(), results));
  return given;
}

backends::Support has_cache_for(const Story& story, backends::Session& session) {
  if (!story.limits.support_sliding_window) return {};
  try {
    (void)session.create_paged_kv_cache(story.limits);
    return {};
  } catch (const Error& error) {
    if (error.code() != "kv.unsupported") throw;
    return backends::Support::no(error.message());
  }
}

void verify_chained(const Story& story, const ref::Reference& reference, const ErrorModel& error_model,
                    backends::Session& session, const ChainedOptions& options, const Report& report) {
  const ModelConfig& config = reference.config();
  const std::vector<TapSpec> specs = tap_specs(config);
  const auto cache = session.create_paged_kv_cache(story.limits);
  make_dirty(config, story.limits, session, *cache, options.fault);
  ChainedReference chain(reference, error_model.model(), error_model, options.seed, story.limits, kMoved);
  for (const Call& call : story.calls) {
    std::optional<HostTensor> rows;
    if (options.inputs == Inputs::adversarial)
      rows.emplace(session.arithmetic().activations, adversarial_rows(reference.embed(call.tokens), config));
    const Tensor exact_rows = rows ? rows->widened() : Tensor();
    const GivenTaps given =
        run_call(call, config, session, *cache, {.rows = rows ? &*rows : nullptr, .fault = options.fault});
    if (options.listener) options.listener(call, given);
    // What workers handed each other is held against what they had, not against the chain: it is blamed before what the
    // chain then shows of it.
    const TapPlace whole_call{VerifyMode::chained, options.inputs, &call, {given.positions(), call.row_sequences()}};
    const CollectiveChecks collectives(whole_call, error_model, given, report);
    for (Index layer = 0; layer < config.num_layers; ++layer) {
      collectives.check_transfer(layer);
      collectives.check_sums(layer);
    }
    bool first = true;
    const auto show = [&](TapId id, const TapRows& at, const Tensor& exact, const std::vector<double>& limits) {
      if (std::exchange(first, false)) check_positions(call, at.positions, given.positions(), options.fault);
      const HostTensor* tap = given.find(id);
      if (tap == nullptr) return require_not_promised(call, id, session, options.fault);
      if (tap->shape() != exact.shape()) throw wrong_tap_shape(id, exact.shape(), tap->shape());
      const TapPlace place{VerifyMode::chained, options.inputs, &call, at};
      const TapSpec& spec = spec_of(specs, id.tap);
      const Tensor got = tap->widened();
      const std::function<double(Index)> limit = limit_by_row(exact, limits);
      const Sight sight{spec.layout, exact, got, limit};
      report(check_tap(place, spec, id, error_model.type_of(id.tap), exact, got, limit), &sight);
      if (id.tap == Tap::logits && options.logits != nullptr) options.logits->add(call.label, exact, got, limits);
    };
    chain.run(call, show, rows ? &exact_rows : nullptr);
  }
}

}  // namespace mlbench::harness
