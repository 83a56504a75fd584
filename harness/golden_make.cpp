#include "harness/golden_make.h"

#include "golden/golden_writer.h"
#include "harness/chained_reference.h"
#include "harness/error_model.h"
#include "harness/plan_json.h"
#include "models/config_json.h"
#include "models/rounded.h"
#include "models/weights_digest.h"
#include "reference/reference.h"

namespace mlbench::harness {
namespace {

golden::Manifest manifest_of(const Model& model, const Plan& plan, const GoldenMakeOptions& options, Workers& workers) {
  return {.program_version = options.program_version,
          .model = model.origin,
          .architecture = std::string(hf_class_name(model.config.architecture)),
          .config = config_json(model.config).dump(),
          .weights = model.origin,
          .weights_digest = weights_digest(model, workers),
          .seed = options.seed,
          .dtype = std::string(name(options.dtype)),
          .arithmetic = arithmetic_json(stored_arithmetic(options.dtype)).dump(),
          .plan = plan_json(plan).dump()};
}

void write_call(const Call& call, ChainedReference& chain, golden::GoldenWriter& writer) {
  std::optional<golden::GoldenWriter::Step> step;
  chain.run(call, [&](TapId id, const TapRows& rows, const ref::Tensor& exact, const std::vector<double>& limits) {
    if (!step) {
      const std::vector<std::int64_t> positions(rows.positions.begin(), rows.positions.end());
      const std::vector<std::int64_t> sequences(rows.row_sequence.begin(), rows.row_sequence.end());
      step.emplace(writer.step(std::string(name(call.method)), call.label, positions, sequences));
    }
    step->tap(id, exact);
    if (!limits.empty()) step->limits(id, limits);
  });
}

}  // namespace

backends::Arithmetic stored_arithmetic(DType dtype) {
  const DType sums = dtype == DType::f64 ? DType::f64 : DType::f32;
  return {.weights = dtype,
          .activations = dtype,
          .kv_cache = dtype,
          .logits = dtype == DType::f64 ? DType::f32 : dtype,
          .product_inputs = dtype,
          .attention_inputs = dtype,
          .accumulation = sums,
          .f32_rope_angles = dtype != DType::f64};
}

void make_golden(const Model& model, const Plan& plan, const std::string& path, const GoldenMakeOptions& options,
                 Workers& workers) {
  const Model rounded = rounded_to(model, options.dtype, workers);
  golden::GoldenWriter writer(path, manifest_of(rounded, plan, options, workers));
  const ref::Reference reference(rounded, workers);
  const ErrorModel errors(rounded, stored_arithmetic(options.dtype), workers);
  const Index moved = options.dtype == DType::f64 ? 0 : kMoved;
  double done = 0.0;
  for (const Story& story : plan) {
    ChainedReference chain(reference, rounded, errors, 1, story.limits, moved);
    for (const Call& call : story.calls) {
      if (options.progress) options.progress(call.label, done / static_cast<double>(total_rows(plan)));
      write_call(call, chain, writer);
      done += static_cast<double>(call.rows());
    }
  }
  writer.finish();
}

}  // namespace mlbench::harness
