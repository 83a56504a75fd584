#include "harness/verify_own_golden.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "core/error.h"
#include "harness/chained.h"
#include "harness/chained_reference.h"
#include "harness/check_tap.h"
#include "harness/plan_json.h"
#include "harness/reference_backend.h"
#include "harness/rounding.h"
#include "models/rounded.h"
#include "models/weights_digest.h"

namespace mlbench::harness {
namespace {

using golden::OwnGolden;
using golden::StepInfo;
using ref::Tensor;

// The calls of the golden's plan beside its steps; golden.format where they are not the same.
std::vector<std::pair<const Call*, const StepInfo*>> matched(const Plan& plan, const OwnGolden& golden,
                                                             const std::string& path) {
  std::vector<std::pair<const Call*, const StepInfo*>> out;
  for (const Story& story : plan) {
    for (const Call& call : story.calls) {
      const std::size_t i = out.size();
      if (i >= golden.steps().size() || golden.steps()[i].label != call.label) {
        throw request_error("golden.format",
                            fmt::format("{}: the plan's call {} has no step of its own", path, in_quotes(call.label)));
      }
      out.emplace_back(&call, &golden.steps()[i]);
    }
  }
  if (out.size() != golden.steps().size()) {
    throw request_error("golden.format",
                        fmt::format("{}: has {} steps, its plan {} calls", path, golden.steps().size(), out.size()));
  }
  return out;
}

using StepsByLabel = std::map<std::string, const StepInfo*>;

StepsByLabel steps_by_label(const OwnGolden& golden, const std::string& path) {
  const Plan plan = parse_plan(golden.manifest().plan, path);
  StepsByLabel out;
  for (const auto& [call, step] : matched(plan, golden, path)) out.emplace(call->label, step);
  return out;
}

// Every tap of the golden must have limits, and every step its call's result: what is not judged must not look so.
void require_limits(const OwnGolden& golden, const std::string& path, DType dtype) {
  const auto refuse = [&](const std::string& what) {
    return request_error("golden.no_limits",
                         fmt::format("{}: {}: make it with mlbench golden make --dtype {}", path, what, name(dtype)));
  };
  if (std::ranges::all_of(golden.steps(), [](const StepInfo& step) { return step.limits.empty(); }))
    throw refuse("holds no limits");
  for (const StepInfo& step : golden.steps()) {
    for (const auto& [tap, dataset] : step.taps) {
      if (!step.limits.contains(tap)) throw refuse(fmt::format("{} has no limits", in_quotes(dataset->path)));
    }
    if (!step.taps.contains("logits") && !step.taps.contains("final_norm"))
      throw refuse(fmt::format("step {} holds no result", in_quotes(step.label)));
  }
}

// Throws the reference's own request error where the story cannot be run up to that call by any backend.
void require_possible(const Story& story, const std::string& label, const Model& rounded) {
  const auto reference = make_reference_backend();
  const auto session = reference->load(rounded, {.dtype = DType::f64});
  const auto cache = session->create_paged_kv_cache(story.limits);
  for (const Call& call : story.calls) {
    (void)run_call(call, rounded.config, *session, *cache);
    if (call.label == label) return;
  }
}

void require_architecture(const Model& model, const OwnGolden& golden, const std::string& path) {
  const std::string_view own = hf_class_name(model.config.architecture);
  if (golden.manifest().architecture == own) return;
  throw request_error("golden.model", fmt::format("{}: was computed for {}, the model is {}", path,
                                                  in_quotes(golden.manifest().architecture), own));
}

std::string coarser(const char* of, const backends::Summation& own, const backends::Summation& limits) {
  if (own.truncates && !limits.truncates) return fmt::format("truncated sums of {}", of);
  if (own.fused >= limits.fused) return "";
  return fmt::format("sums of {} in blocks of {}, not {}", of, own.fused, limits.fused);
}

// The first part of a declared arithmetic that is coarser than what limits were made for; empty: none.
std::string coarser(const backends::Arithmetic& own, const backends::Arithmetic& limits) {
  const auto part = [](const char* what, DType have, DType limit) {
    return unit_roundoff(have) > unit_roundoff(limit) ? fmt::format("{} in {}, not {}", what, name(have), name(limit))
                                                      : std::string();
  };
  for (const std::string& reason :
       {part("weights", own.weights, limits.weights), part("activations", own.activations, limits.activations),
        part("the cache", own.kv_cache, limits.kv_cache), part("logits", own.logits, limits.logits),
        part("inputs of products", own.product_inputs, limits.product_inputs),
        part("inputs of attention", own.attention_inputs, limits.attention_inputs),
        part("sums", own.accumulation, limits.accumulation)}) {
    if (!reason.empty()) return reason;
  }
  if (std::string reason = coarser("products", own.product_sums, limits.product_sums); !reason.empty()) return reason;
  if (std::string reason = coarser("attention", own.attention_sums, limits.attention_sums); !reason.empty())
    return reason;
  return own.f32_rope_angles && !limits.f32_rope_angles ? "rotary angles in f32" : "";
}

TapCheck checked(const Call& call, const std::vector<TapSpec>& specs, TapId id, DType type, const StepInfo& step,
                 const HostTensor& given, OwnGolden& golden, const std::string& path) {
  const std::string text = to_string(id);
  const Tensor expected = golden.tap(step, text);
  if (given.shape() != expected.shape()) {
    throw request_error("golden.shape",
                        fmt::format("{}: step {}, tap {} has shape {}: the model gives {}", path, step.index, text,
                                    to_string(expected.shape()), to_string(given.shape())));
  }
  const Tensor limits = golden.limits(step, text);
  const std::vector<double> by_row(limits.values().begin(), limits.values().end());
  TapPlace place{VerifyMode::chained, Inputs::random, &call, {{}, call.row_sequences()}};
  const auto positions = golden.positions(step);
  if (id.tap == Tap::logits) {
    place.rows.row_sequence.clear();
    for (const std::int32_t row : call.result_rows()) {
      place.rows.row_sequence.push_back(call.row_sequences()[static_cast<std::size_t>(row)]);
      place.rows.positions.push_back(static_cast<std::int32_t>(positions.values()[static_cast<std::size_t>(row)]));
    }
  } else {
    for (const std::int64_t position : positions.values())
      place.rows.positions.push_back(static_cast<std::int32_t>(position));
  }
  const TapSpec& spec = spec_of(specs, id.tap);
  const Index rows = spec.layout == TapLayout::rows ? expected.rows() : expected.dim(1);
  if (static_cast<Index>(by_row.size()) != rows || static_cast<Index>(place.rows.positions.size()) != rows) {
    throw request_error("golden.format", fmt::format("{}: step {}, tap {} has {} rows and {} limits", path, step.index,
                                                     text, rows, by_row.size()));
  }
  return check_tap(place, spec, id, type, expected, given.widened(), limit_by_row(expected, by_row));
}

}  // namespace

DType dtype_of(const OwnGolden& golden, const std::string& path) {
  if (const auto dtype = parse_dtype(golden.manifest().dtype)) return *dtype;
  throw request_error("golden.format", fmt::format("{}: dtype {}", path, in_quotes(golden.manifest().dtype)));
}

void require_same_weights(const Model& rounded, const OwnGolden& golden, const std::string& path, Workers& workers) {
  require_architecture(rounded, golden, path);
  const std::string own = weights_digest(rounded, workers);
  if (own == golden.manifest().weights_digest) return;
  throw request_error("golden.model",
                      fmt::format("{}: was made from {} (weights {}); the model named is {} ({})", path,
                                  golden.manifest().model, golden.manifest().weights_digest, rounded.origin, own));
}

GoldenVerification verify_own_golden(const Model& model, OwnGolden& golden, const std::string& path, Workers& workers,
                                     const GoldenOptions& options) {
  const Model rounded = rounded_to(model, dtype_of(golden, path), workers);
  require_same_weights(rounded, golden, path, workers);
  const Plan plan = parse_plan(golden.manifest().plan, path);
  const std::vector<TapSpec> specs = tap_specs(model.config);
  GoldenVerification out;
  out.model = model.origin;
  out.architecture = name(model.config.architecture);
  out.golden = path;
  out.backend = "reference";
  out.dtype = "f64";
  out.rtol = options.rtol;
  out.warnings = model.warnings;
  for (const StepInfo& step : golden.steps()) out.result_datasets += static_cast<Index>(step.taps.size());

  const ref::Reference reference(rounded, workers, options.rope_compat);
  const ErrorModel errors(rounded, {}, workers);
  const auto steps = matched(plan, golden, path);
  std::size_t next = 0;
  std::set<std::string> compared;
  for (const Story& story : plan) {
    ChainedReference chain(reference, rounded, errors, 0, story.limits, 0);
    for (const Call& call : story.calls) {
      const StepInfo& step = *steps[next++].second;
      chain.run(call, [&](TapId id, const TapRows& rows, const Tensor& got, const std::vector<double>&) {
        const std::string text = to_string(id);
        if (!step.taps.contains(text)) return;
        const Tensor expected = golden.tap(step, text);
        if (expected.shape() != got.shape()) {
          throw request_error("golden.shape",
                              fmt::format("{}: step {}, tap {} has shape {}: the model gives {}", path, step.index,
                                          text, to_string(expected.shape()), to_string(got.shape())));
        }
        const Comparison c = compare(expected.values(), got.values(), options.rtol);
        out.taps.push_back(tap_result(c, spec_of(specs, id.tap), id, expected, got, rows));
        TapResult& result = out.taps.back();
        result.method = name(call.method);
        result.step = call.label;
        result.dataset = step.taps.at(text)->path;
        compared.insert(result.dataset);
        ++out.compared_datasets;
        if (options.progress) {
          options.progress(call.label, static_cast<double>(out.compared_datasets) /
                                           static_cast<double>(std::max<Index>(1, out.result_datasets)));
        }
      });
    }
  }
  for (const StepInfo& step : golden.steps()) {
    for (const auto& [tap, dataset] : step.taps) {
      if (!compared.contains(dataset->path)) out.uncompared.push_back({dataset->path, "the model has no such tap"});
    }
  }
  return out;
}

BackendVerification verify_trusted(const Model& model, backends::Backend& backend, OwnGolden& golden,
                                   const std::string& path, const Plan& plan, const BackendOptions& options,
                                   Workers& workers) {
  const Model rounded = rounded_to(model, dtype_of(golden, path), workers);
  require_same_weights(rounded, golden, path, workers);
  const StepsByLabel steps = steps_by_label(golden, path);
  require_limits(golden, path, options.run.dtype);
  const std::vector<TapSpec> specs = tap_specs(model.config);
  BackendVerification out = verification_of(model, backend, options.run);
  out.golden = path;
  const auto session = backend.load(rounded, options.run);
  const backends::Arithmetic arithmetic = session->arithmetic();
  out.arithmetic = described(arithmetic);
  if (const std::string reason = coarser(arithmetic, parse_arithmetic(golden.manifest().arithmetic, path));
      !reason.empty()) {
    throw request_error(
        "golden.arithmetic",
        fmt::format("{}: its limits are for a finer arithmetic: backend {} keeps {}", path, backend.name(), reason));
  }
  std::map<Tap, std::string> not_held;  // and where first
  const Index calls = total_calls(plan);
  Index done = 0;
  for (const Story& story : plan) {
    if (const backends::Support support = has_cache_for(story, *session); !support) {
      out.unsupported.push_back({fmt::format("story {}", story.name), support.reason});
      continue;
    }
    const auto cache = session->create_paged_kv_cache(story.limits);
    for (const Call& call : story.calls) {
      const StepInfo& step = *steps.at(call.label);
      if (options.progress) options.progress(call.label, static_cast<double>(done++) / static_cast<double>(calls));
      GivenTaps given;
      try {
        given = run_call(call, model.config, *session, *cache);
      } catch (const std::exception& error) {
        require_possible(story, call.label, rounded);  // a plan from a file may ask for what no model can do
        out.error = error.what();
        return out;
      }
      for (const TapId id : all_taps(model.config)) {
        const HostTensor* tap = given.find(id);
        if (tap == nullptr) continue;
        if (!step.limits.contains(to_string(id))) {
          not_held.emplace(id.tap, call.label);
          continue;
        }
        out.checks.push_back(checked(call, specs, id, type_of(id.tap, arithmetic), step, *tap, golden, path));
      }
    }
  }
  for (const auto& [tap, label] : not_held)
    out.unsupported.push_back({fmt::format("tap {}", name(tap)), fmt::format("not in the golden's {}", label)});
  return out;
}

}  // namespace mlbench::harness
