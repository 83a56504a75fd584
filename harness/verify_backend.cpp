#include "harness/verify_backend.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "core/error.h"
#include "harness/chained.h"
#include "harness/chained_reference.h"
#include "harness/diagnose.h"
#include "harness/error_model.h"
#include "harness/exact.h"
#include "harness/golden_distance.h"
#include "harness/isolated.h"
#include "harness/schedules.h"
#include "models/rounded.h"
#include "models/synthetic.h"
#include "models/tensor_inventory.h"

namespace mlbench::harness {
namespace {

using backends::Arithmetic;

bool is_split(const backends::RunConfig& run) {
  return run.disaggregated || run.tensor_parallel * run.pipeline_parallel * run.replicas > 1;
}

backends::RunConfig in_one_piece(backends::RunConfig run) {
  run.tensor_parallel = run.pipeline_parallel = run.replicas = 1;
  run.micro_batches = 0;
  run.disaggregated = false;
  return run;
}

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
  Progress(const BackendOptions& options, std::span<const VerifyCase> cases) : report_(options.progress) {
    for (const VerifyCase& one : cases) {
      const bool chained = options.chained && one.inputs != Inputs::exact;
      total_ += static_cast<double>(total_rows(one.plan) * ((options.isolated ? 1 : 0) + (chained ? 1 : 0)));
      for (const Story& story : one.plan) {
        for (const Call& call : story.calls) rows_[call.label] = call.rows();
      }
    }
  }

  void at(const TapCheck& check) {
    if (!report_ || (check.call == call_ && check.mode == mode_)) return;
    if (!call_.empty()) done_ += static_cast<double>(rows_[call_]);
    call_ = check.call;
    mode_ = check.mode;
    report_(fmt::format("{} {}", name(mode_), call_), std::min(1.0, done_ / std::max(1.0, total_)));
  }

 private:
  const std::function<void(const std::string&, double)>& report_;
  double total_ = 0.0, done_ = 0.0;
  std::map<std::string, Index> rows_;
  std::string call_;
  VerifyMode mode_ = VerifyMode::isolated;
};

// Kinds of taps of which most checks would let a constant pass: they find nothing.
class LooseTaps {
 public:
  void see(const TapCheck& check) {
    auto& [loose, checks] = by_kind_[{check.mode, check.kind}];
    loose += check.loose ? 1 : 0;
    ++checks;
  }

  void report(std::vector<Finding>& out) const {
    for (const auto& [key, counts] : by_kind_) {
      const auto& [mode, kind] = key;
      const auto& [loose, checks] = counts;
      if (2 * loose <= checks) continue;
      out.push_back({"untrusted.loose", fmt::format("{} {}", name(mode), kind),
                     fmt::format("in {} of {} checks a constant would be within the limits", loose, checks)});
    }
  }

 private:
  std::map<std::pair<VerifyMode, std::string>, std::pair<Index, Index>> by_kind_;
};

// One verification: its cases one after the other, each on a model and a session of its own where it names one.
class Verification {
 public:
  Verification(const BackendOptions& options, backends::Backend& backend, Workers& workers,
               std::span<const VerifyCase> cases, BackendVerification& out)
      : options_(options), backend_(backend), workers_(workers), out_(out), progress_(options, cases) {}

  // All cases of one model.
  void run(const Model& rounded, const std::vector<const VerifyCase*>& cases, bool users_own) {
    const auto session = backend_.load(rounded, options_.run);
    if (users_own) {
      out_.arithmetic = described(session->arithmetic());
      list_missing_taps(rounded.config, *session, out_);
    }
    const ref::Reference reference(rounded, workers_);
    const ErrorModel errors(rounded, session->arithmetic(), workers_, options_.bounds);
    const std::string why_not = options_.isolated ? why_not_isolated(*session) : "";
    if (!why_not.empty() && users_own) out_.unsupported.push_back({"isolated mode", why_not});
    for (const VerifyCase* one : cases) {
      const Plan plan = supported_stories(*one, *session);
      if (options_.isolated && why_not.empty()) {
        for (const Story& story : plan)
          verify_isolated(story, reference, errors, *session, {one->inputs, fault_}, report_);
      }
      if (options_.chained && one->inputs != Inputs::exact) chained(*one, plan, reference, errors, *session);
    }
    if (users_own && options_.schedules && options_.chained) compare_all(rounded, reference, errors, *session);
  }

  // What can only be said of everything together.
  void finish() {
    loose_.report(out_.untrusted);
    out_.logits = logits_.result();
    if (!logits_.reference_reacts()) {
      out_.untrusted.push_back(
          {"untrusted.deaf", "logits", "the reference's logits are the same for all inputs: nothing was tested"});
    } else if (!logits_.backend_reacts()) {
      out_.untrusted.push_back({"untrusted.constant", "logits", "the backend's logits are the same for all inputs"});
    }
    if (options_.evidence && keeper_.kept()) options_.evidence(*keeper_.kept());
  }

 private:
  void chained(const VerifyCase& one, const Plan& plan, const ref::Reference& reference, const ErrorModel& errors,
               backends::Session& session) {
    std::optional<DistanceToGolden> distance;
    if (options_.golden != nullptr) distance.emplace(*options_.golden_file, *options_.golden, reference.config());
    ChainedOptions chained{one.inputs, options_.seed, fault_, nullptr, one.config ? nullptr : &logits_};
    if (distance) chained.listener = [&](const Call& call, const GivenTaps& given) { distance->take(call, given); };
    for (const Story& story : plan) verify_chained(story, reference, errors, session, chained, report_);
    if (distance) out_.distances = distance->distances();
  }

  void compare_all(const Model& rounded, const ref::Reference& reference, const ErrorModel& errors,
                   backends::Session& session) {
    const std::unique_ptr<backends::Session> whole =
        is_split(options_.run) ? backend_.load(rounded, in_one_piece(options_.run)) : nullptr;
    ScheduleResults results =
        compare_schedules(reference, errors, session, options_.seed, fault_, std::nullopt, whole.get());
    out_.schedules = std::move(results.pairs);
    out_.invariances = std::move(results.invariances);
  }

  // Sliding windows are an option of the cache: a backend may have none.
  Plan supported_stories(const VerifyCase& one, backends::Session& session) {
    Plan plan;
    for (const Story& story : one.plan) {
      if (const backends::Support support = has_cache_for(story, session); support) {
        plan.push_back(story);
      } else {
        out_.unsupported.push_back({fmt::format("story {}", story.name), support.reason});
      }
    }
    return plan;
  }

  void take(TapCheck check, const Sight* sight) {
    constexpr Index kMostGuesses = 200;  // a guess costs several passes over the tap
    progress_.at(check);
    loose_.see(check);
    if (sight != nullptr && !check.passed) {
      if (sight->layout && guesses_++ < kMostGuesses) check.guess = diagnose(*sight);
      if (options_.evidence) keeper_.see(check, *sight);
    }
    out_.checks.push_back(std::move(check));
  }

  // A fault that comes with every call is told once for each code, and counted.
  void blame(Finding finding) {
    const auto same = std::ranges::find(out_.faults, finding.code, &Finding::code);
    if (same == out_.faults.end()) return out_.faults.push_back(std::move(finding));
    const Index times = ++repeated_[finding.code];
    same->text = same->text.substr(0, same->text.find(kAndMore)) + fmt::format("{}{} times more", kAndMore, times);
  }
  static constexpr const char* kAndMore = "; and ";

  const BackendOptions& options_;
  backends::Backend& backend_;
  Workers& workers_;
  BackendVerification& out_;
  Progress progress_;
  LooseTaps loose_;
  LogitsMeter logits_;
  EvidenceKeeper keeper_;
  Index guesses_ = 0;
  std::map<std::string, Index> repeated_;
  const Report report_ = [this](TapCheck check, const Sight* sight) { take(std::move(check), sight); };
  const FaultReport fault_ = [this](Finding finding) { blame(std::move(finding)); };
};

}  // namespace

namespace {

std::string describe_sum(const backends::Summation& sum) {
  const std::string blocks = sum.fused > 1 ? fmt::format("blocks of {}", sum.fused) : "one by one";
  return blocks + (sum.truncates ? ", truncated" : "");
}

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
          {"product_sums", describe_sum(a.product_sums)},
          {"attention_sums", describe_sum(a.attention_sums)},
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
    const Index layer = tap_values_per_row(config) + config.num_heads * entries;
    most =
        std::max(most, own.total() + bytes(entries * replicas * kv_values_per_token(config), sizeof(double)) +
                           bytes(rows * layer, sizeof(double)) * static_cast<std::uint64_t>(4 * replicas) +
                           bytes(rows * layer * config.num_layers, sizeof(float)) +
                           bytes(4 * std::min(rows * replicas * config.vocab_size, kLogitsTogether), sizeof(double)) +
                           bytes(4 * rows * config.vocab_size, sizeof(double)));
  }
  if (options.schedules && options.chained) {
    most += schedules_bytes(config);
    if (is_split(options.run))
      most +=
          backend.memory(config, in_one_piece(options.run), plan.empty() ? KvLimits{} : plan.front().limits).total();
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
  out.version = run.device == backends::kHostExecutor ? "host executor" : backend.version();
  out.device = run.device;
  out.dtype = name(run.dtype);
  out.warnings = model.warnings;
  return out;
}

BackendVerification verify_backend(const Model& model, backends::Backend& backend, std::span<const VerifyCase> cases,
                                   const BackendOptions& options, Workers& workers) {
  BackendVerification out = verification_of(model, backend, options.run);
  out.seed = options.seed;
  out.worst_case_bounds = options.bounds == Bounds::deterministic;
  if (options.golden_file != nullptr) out.golden = options.golden_file->path();
  std::vector<const VerifyCase*> on_users_model;
  for (const VerifyCase& one : cases) {
    if (!one.config) on_users_model.push_back(&one);
  }
  Verification run(options, backend, workers, cases, out);
  try {
    if (!on_users_model.empty()) run.run(rounded_to(model, options.run.dtype, workers), on_users_model, true);
    for (const VerifyCase& one : cases) {
      if (!one.config) continue;
      if (const backends::Support support = backend.supports(*one.config, options.run); !support) {
        out.unsupported.push_back({one.name, support.reason});
        continue;
      }
      const bool exact = one.inputs == Inputs::exact;
      run.run(exact ? make_exact(*one.config, options.run.dtype)
                    : make_synthetic(*one.config, options.run.dtype, options.seed, workers),
              {&one}, on_users_model.empty() && out.arithmetic.empty());
    }
  } catch (const Error& error) {
    out.error = fmt::format("{}: {}", error.code(), error.message());
  } catch (const std::exception& error) {
    out.error = error.what();
  }
  run.finish();
  return out;
}

BackendVerification verify_backend(const Model& model, backends::Backend& backend, const Plan& plan,
                                   const BackendOptions& options, Workers& workers) {
  const VerifyCase one{"", Inputs::random, std::nullopt, plan};
  return verify_backend(model, backend, std::span(&one, 1), options, workers);
}

}  // namespace mlbench::harness
