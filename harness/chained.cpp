#include "harness/chained.h"

#include "harness/chained_reference.h"
#include "harness/check_tap.h"

namespace mlbench::harness {

using ref::Tensor;

GivenTaps run_call(const Call& call, const ModelConfig& config, backends::Session& session, backends::KvCache& cache) {
  for (const CacheOperation& operation : call.before) apply(operation, cache);
  GivenTaps given;
  const DType type = session.arithmetic().activations;
  HostTensor x(type, Shape{call.rows(), config.hidden_size});
  session.embed(call.tokens, x.view());
  x = std::move(x).reshaped(call.input_shape(config.hidden_size));
  const bool hidden = backends::returns_hidden(call.method);
  const auto results = static_cast<Index>(call.result_rows().size());
  const Index width = hidden ? config.hidden_size : config.vocab_size;
  Shape shape = call.input_shape(width);
  (shape[1] == 1 ? shape[0] : shape[1]) = results;
  HostTensor out(hidden ? type : DType::f32, shape);

  cache.begin_forward(call.ids, call.lengths, call.tree_parents);
  session.forward(call.method, x.view(), call.logit_positions, cache, out.view(), &given);
  session.synchronize();
  cache.end_forward();
  given.put({hidden ? Tap::final_norm : Tap::logits, -1}, std::move(out).reshaped({results, width}));
  return given;
}

void verify_chained(const Story& story, const ref::Reference& reference, const Model& model,
                    const ErrorModel& error_model, std::uint64_t seed, backends::Session& session, const Report& report,
                    const CallListener& listener) {
  const std::vector<TapSpec> specs = tap_specs(reference.config());
  const auto cache = session.create_paged_kv_cache(story.limits);
  ChainedReference chain(reference, model, error_model, seed, story.limits, kMoved);
  for (const Call& call : story.calls) {
    const GivenTaps given = run_call(call, reference.config(), session, *cache);
    if (listener) listener(call, given);
    chain.run(call, [&](TapId id, const TapRows& rows, const Tensor& exact, const std::vector<double>& limits) {
      const HostTensor* got = given.find(id);
      if (got == nullptr) return;
      if (got->shape() != exact.shape()) throw wrong_tap_shape(id, exact.shape(), got->shape());
      const TapPlace place{VerifyMode::chained, &call, rows};
      report(check_tap(place, spec_of(specs, id.tap), id, exact, got->widened(), limit_by_row(exact, limits)));
    });
  }
}

}  // namespace mlbench::harness
