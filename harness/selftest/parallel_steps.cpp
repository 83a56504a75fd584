#include "harness/selftest/parallel_steps.h"

#include <algorithm>
#include <numeric>

#include "harness/selftest/passing_session.h"

namespace mlbench::selftest {
namespace {

using backends::Part;
using M = ParallelMistake;

// A part to run, and whether its taps are shown: an implementation shows what it has once.
struct Step {
  Part part;
  bool shown = true;
};

// What runs the parts is loaded as if it were all of the pipeline: it has what stands before and behind the layers.
backends::RunConfig alone(backends::RunConfig run) {
  run.stage = 0;
  run.pipeline_parallel = run.micro_batches = 1;
  return run;
}

class SteppedSession final : public PassingSession {
 public:
  SteppedSession(backends::Backend& backend, const Model& part, const backends::RunConfig& run, ParallelPlanted planted)
      : PassingSession(backend.load(part, alone(run))), config_(part.config), run_(run), planted_(std::move(planted)) {}

  void forward(backends::Method method, const ConstTensorView& x, std::span<const std::int32_t> logit_positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    const auto count = static_cast<Index>(cache.get_query_positions().size());
    HostTensor rows(DType::f32, Shape{count, config_.hidden_size});
    take_rows(x, rows, taps);
    for (const Step& step : steps()) {
      HostTensor result(DType::f32, rows.shape());
      session().run_part(step.part, rows.view(), cache, result.view(), step.shown ? taps : nullptr);
      rows = std::move(result);
    }
    if (!run_.is_last_stage()) return run_.group->send_on(rows.bytes());
    if (out.data == nullptr) return;
    if (backends::returns_hidden(method)) {
      std::ranges::copy(rows.bytes(), out.data);
      return;
    }
    std::vector<std::int32_t> chosen(logit_positions.begin(), logit_positions.end());
    if (method != backends::Method::batch_prefill) {
      const bool last_alone = method == backends::Method::prefill;
      chosen.resize(static_cast<std::size_t>(last_alone ? 1 : count));
      std::iota(chosen.begin(), chosen.end(), static_cast<std::int32_t>(last_alone ? count - 1 : 0));
    }
    give_logits(rows, chosen, out, taps);
  }

 private:
  void take_rows(const ConstTensorView& x, HostTensor& rows, backends::TapSink* taps) {
    if (run_.is_first_stage()) {
      std::copy_n(x.data, rows.bytes().size(), rows.bytes().begin());
      return;
    }
    run_.group->receive(rows.bytes());
    const TapId received{Tap::stage_in, run_.first_layer};
    if (taps != nullptr && taps->wants(received)) taps->take(received, rows.view());
  }

  void give_logits(const HostTensor& rows, std::span<const std::int32_t> chosen, const TensorView& out,
                   backends::TapSink* taps) {
    const auto count = static_cast<Index>(chosen.size());
    HostTensor hidden(DType::f32, Shape{count, config_.hidden_size});
    session().batch_select_last_hidden_states(rows.view(), chosen, hidden.view());
    const TensorView logits{DType::f32, {count, config_.vocab_size}, out.data};
    session().get_logits(hidden.view(), logits);
    const TapId id{Tap::logits, -1};
    if (taps != nullptr && taps->wants(id)) taps->take(id, logits);
  }

  [[nodiscard]] std::vector<Step> steps() const {
    std::vector<Step> out;
    const bool first = run_.is_first_stage(), last = run_.is_last_stage();
    if (first) out.push_back({{Part::Kind::enter, -1}});
    if (!first && planted_.at(M::positions_everywhere)) out.push_back({{Part::Kind::enter, -1}, false});
    for (Index layer = 0; layer < config_.num_layers; ++layer) {
      const Part part{Part::Kind::layer, run_.first_layer + layer};
      if (layer == 0 && last && planted_.at(M::first_layer_skipped)) continue;
      if (layer == 0 && last && planted_.at(M::first_layer_twice)) out.push_back({part, false});
      out.push_back({part});
    }
    if (last) out.push_back({{Part::Kind::final_norm, -1}});
    if (!last && planted_.at(M::final_norm_everywhere)) out.push_back({{Part::Kind::final_norm, -1}, false});
    return out;
  }

  ModelConfig config_;
  backends::RunConfig run_;
  ParallelPlanted planted_;
};

}  // namespace

bool is_between_parts(const ParallelPlanted& planted) {
  return planted.is(M::first_layer_twice) || planted.is(M::first_layer_skipped) ||
         planted.is(M::final_norm_everywhere) || planted.is(M::positions_everywhere);
}

std::unique_ptr<backends::Session> make_stepped_session(backends::Backend& backend, const Model& part,
                                                        const backends::RunConfig& run,
                                                        const ParallelPlanted& planted) {
  return std::make_unique<SteppedSession>(backend, part, run, planted);
}

}  // namespace mlbench::selftest
