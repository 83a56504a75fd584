#include "harness/verify_backend.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "core/error.h"
#include "harness/chained.h"
#include "harness/chained_reference.h"
#include "harness/error_model.h"
#include "harness/golden_distance.h"
#include "harness/isolated.h"
#include "models/rounded.h"
#include "models/tensor_inventory.h"

namespace mlbench::harness {
namespace {

using backends::Arithmetic;

// Why the backend cannot be asked for single parts; nothing where it can.
std::string why_not_isolated(const backends::Session& session) {
  if (const backends::Support support = session.isolates_layers(); !support) return support.reason;
  for (const Tap tap : {Tap::k, Tap::v}) {
    if (const backends::Support support = session.gives(tap); !support)
      return fmt::format("it does not give {}: {}", name(tap), support.reason);
  }
  return "";
}

void list_missing_taps(const ModelConfig& config, const backends::Session& session, BackendVerification& out) {
  for (const TapSpec& spec : tap_specs(config)) {
    if (const backends::Support support = session.gives(spec.tap); !support)
      out.unsupported.push_back({fmt::format("tap {}", name(spec.tap)), support.reason});
  }
}

// The rows of calls that were checked, of all that will be.
class Progress {
 public:
  Progress(const BackendOptions& options, Index modes, const Plan& plan)
      : report_(options.progress), total_(static_cast<double>(modes * std::max<Index>(1, total_rows(plan)))) {
    for (const Story& story : plan) {
      for (const Call& call : story.calls) rows_[call.label] = call.rows();
    }
  }

  void at(const TapCheck& check) {
    if (!report_ || (check.call == call_ && check.mode == mode_)) return;
    if (!call_.empty()) done_ += static_cast<double>(rows_[call_]);
    call_ = check.call;
    mode_ = check.mode;
    report_(fmt::format("{} {}", name(mode_), call_), done_ / total_);
  }

 private:
  const std::function<void(const std::string&, double)>& report_;
  double total_;
  double done_ = 0.0;
  std::map<std::string, Index> rows_;
  std::string call_;
  VerifyMode mode_ = VerifyMode::isolated;
};

}  // namespace

std::vector<std::pair<std::string, std::string>> described(const Arithmetic& a) {
  const auto text = [](DType type) { return std::string(name(type)); };
  return {{"weights", text(a.weights)},
          {"activations", text(a.activations)},
          {"kv_cache", text(a.kv_cache)},
          {"logits", text(a.logits)},
          {"product_inputs", text(a.product_inputs)},
          {"attention_inputs", text(a.attention_inputs)},
          {"accumulation", text(a.accumulation)},
          {"rope_angles", a.f32_rope_angles ? "f32" : "exact"}};
}

std::uint64_t memory_estimate(const ModelConfig& config, DType stored, const backends::Backend& backend,
                              const Plan& plan, const BackendOptions& options) {
  const auto bytes = [](Index values, std::size_t each) { return static_cast<std::uint64_t>(values) * each; };
  std::uint64_t most = 0;
  for (const Story& story : plan) {
    const backends::MemoryEstimate own = backend.memory(config, options.run, story.limits);
    const Index replicas = options.chained ? kMoved + 1 : 2;
    const Index rows = largest_call({story}), entries = story.limits.max_total_seq_len;
    // A layer's taps of all replicas and what is derived of them, those of the whole call that the backend gave,
    // logits.
    const Index probs = config.num_heads * entries;
    const Index layer = 6 * config.hidden_size + 3 * (config.q_width() + 2 * config.kv_width()) + probs +
                        (config.gated_mlp() ? 4 : 2) * config.intermediate_size;
    most = std::max(most, own.total() + bytes(entries * replicas * kv_values_per_token(config), sizeof(double)) +
                              bytes(rows * layer, sizeof(double)) * static_cast<std::uint64_t>(4 * replicas) +
                              bytes(rows * layer * config.num_layers, sizeof(float)) +
                              bytes(4 * rows * replicas * config.vocab_size, sizeof(double)));
  }
  const std::uint64_t weights = bytes(parameter_count(config), size_bytes(stored));
  const bool copied = !is_exact(stored, options.run.dtype);
  return most + weights + (copied ? bytes(parameter_count(config), size_bytes(options.run.dtype)) : 0);
}

BackendVerification verification_of(const Model& model, const backends::Backend& backend,
                                    const backends::RunConfig& run) {
  BackendVerification out;
  out.model = model.origin;
  out.architecture = name(model.config.architecture);
  out.backend = backend.name();
  out.version = backend.version();
  out.device = run.device;
  out.dtype = name(run.dtype);
  out.warnings = model.warnings;
  return out;
}

BackendVerification verify_backend(const Model& model, backends::Backend& backend, const Plan& plan,
                                   const BackendOptions& options, Workers& workers) {
  const Model rounded = rounded_to(model, options.run.dtype, workers);
  BackendVerification out = verification_of(model, backend, options.run);
  out.seed = options.seed;
  if (options.golden_file != nullptr) out.golden = options.golden_file->path();

  const ref::Reference reference(rounded, workers);
  std::optional<Progress> progress;
  const Report report = [&](TapCheck check) {
    progress->at(check);
    out.checks.push_back(std::move(check));
  };
  try {
    const auto session = backend.load(rounded, options.run);
    const Arithmetic arithmetic = session->arithmetic();
    out.arithmetic = described(arithmetic);
    list_missing_taps(model.config, *session, out);
    const ErrorModel errors(rounded, arithmetic, workers);
    const std::string why_not = options.isolated ? why_not_isolated(*session) : "";
    if (!why_not.empty()) out.unsupported.push_back({"isolated mode", why_not});
    const bool isolated = options.isolated && why_not.empty();
    std::optional<DistanceToGolden> distance;
    if (options.golden != nullptr) distance.emplace(*options.golden_file, *options.golden, model.config);
    const CallListener listener =
        distance ? CallListener([&](const Call& call, const GivenTaps& given) { distance->take(call, given); })
                 : nullptr;
    progress.emplace(options, (isolated ? 1 : 0) + (options.chained ? 1 : 0), plan);
    for (const Story& story : isolated ? plan : Plan{}) {
      verify_isolated(story, reference, errors, *session, report);
    }
    for (const Story& story : options.chained ? plan : Plan{}) {
      verify_chained(story, reference, rounded, errors, options.seed, *session, report, listener);
    }
    if (distance) out.distances = distance->distances();
  } catch (const Error& error) {
    out.error = fmt::format("{}: {}", error.code(), error.message());
  } catch (const std::exception& error) {
    out.error = error.what();
  }
  return out;
}

}  // namespace mlbench::harness
