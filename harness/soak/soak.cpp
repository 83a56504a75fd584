#include "harness/soak/soak.h"

#include <algorithm>
#include <chrono>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "core/error.h"
#include "harness/cache_check.h"
#include "harness/chained_reference.h"
#include "harness/dirty_cache.h"
#include "harness/measure/environment.h"
#include "harness/soak/watch.h"
#include "harness/soak/workload.h"
#include "harness/verify_backend.h"
#include "models/rounded.h"

namespace mlbench::soak {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostFaults = 100;

std::string utc_now() {
  const auto now = std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(now)))
      .insert(std::string_view("2026-11-22T10:00:00").size(),
              fmt::format(".{:03d}", now.time_since_epoch().count() % 1000));
}

// What is kept of every call beside its result.
enum class Keep { all_taps, outputs_of_layers, nothing };

std::vector<TapId> taps_of(const ModelConfig& config, Keep keep) {
  if (keep == Keep::all_taps) return all_taps(config);
  std::vector<TapId> out;
  for (Index layer = 0; keep == Keep::outputs_of_layers && layer < config.num_layers; ++layer)
    out.push_back({Tap::layer_out, layer});
  return out;
}

const char* describe(Keep keep) {
  return keep == Keep::all_taps ? "all taps" : keep == Keep::nothing ? "results" : "outputs of layers";
}

std::uint64_t bytes_of(const ModelConfig& config, const std::vector<Story>& stories, Keep keep) {
  std::uint64_t values = 0;
  for (const Story& story : stories) {
    const Index probs = config.num_heads * story.limits.max_total_seq_len;
    const Index layer = keep == Keep::all_taps  ? tap_values_per_row(config) + probs
                        : keep == Keep::nothing ? 0
                                                : config.hidden_size;
    values +=
        static_cast<std::uint64_t>(harness::total_rows({story}) * (layer * config.num_layers + config.vocab_size));
  }
  return values * sizeof(float);
}

// The most that fits.
Keep keep_of(const ModelConfig& config, const std::vector<Story>& stories, std::uint64_t most) {
  for (const Keep keep : {Keep::all_taps, Keep::outputs_of_layers}) {
    if (bytes_of(config, stories, keep) <= most) return keep;
  }
  return Keep::nothing;
}

std::vector<Story> stories_of(const ModelConfig& config, const SoakOptions& options) {
  std::vector<Story> out;
  for (Index i = 0; i < options.workloads; ++i) out.push_back(make_workload(config, options.seed, i, options.calls));
  return out;
}

// A workload, what it must give, and the cache that it runs in for the whole soak: its pages are used again and again.
struct Workload {
  Story story;
  std::unique_ptr<backends::KvCache> cache;
  Recorded expected;
  std::vector<CallLimits> limits;  // by call; where runs differ in bits
};

class Soak {
 public:
  Soak(const Model& model, backends::Session& session, const SoakOptions& options, Workers& workers, SoakResults& out)
      : model_(model),
        session_(session),
        options_(options),
        out_(out),
        reference_(model, workers),
        errors_(model, session.arithmetic(), workers),
        stories_(stories_of(model.config, options)),
        keep_(keep_of(model.config, stories_, options.most_bytes)),
        taps_(taps_of(model.config, keep_)),
        watch_(model.config, taps_) {}

  // Whether what the workloads give is right, so that it can be compared with.
  bool prepare() {
    out_.kept = describe(keep_);
    out_.workloads = options_.workloads;
    for (const Story& story : stories_) {
      tell(fmt::format("running {} for the first time", story.name), 0.0);
      Workload one{story, session_.create_paged_kv_cache(story.limits), {}, {}};
      harness::make_dirty(model_.config, story.limits, session_, *one.cache, fault_);
      workloads_.push_back(std::move(one));
      if (stopped()) return false;
      settle(workloads_.back());
    }
    out_.criterion = out_.bitwise ? "the same bits as in the checked run"
                                  : "within the limits of chained verification: two runs do not give the same bits";
    for (Workload& one : workloads_) {
      tell(fmt::format("checking {} against the float64 reference", one.story.name), 0.0);
      if (stopped()) return false;
      check(one);
    }
    return out_.check_failure.empty();
  }

  void run() {
    start_ = Clock::now();
    while (!over()) {
      ++out_.iterations;
      const auto which = static_cast<std::size_t>((out_.iterations - 1) % options_.workloads);
      const Index round = (out_.iterations - 1) / options_.workloads;
      const bool with_taps = options_.taps_every > 0 && round % options_.taps_every == 0;
      out_.with_taps += with_taps ? 1 : 0;
      iterate(which, with_taps);
      out_.seconds = elapsed();
      const double done = options_.seconds > 0.0 ? out_.seconds / options_.seconds : 0.0;
      tell(fmt::format("iteration {}, {} wrong", out_.iterations, out_.wrong_iterations), std::min(1.0, done));
    }
  }

 private:
  // ---- before the clock starts ----

  Recorded record(Workload& one) {
    Recorded out;
    for (const Call& call : one.story.calls) out.push_back(ask(one, call, true));
    one.cache->clear();
    return out;
  }

  // What the workload gives: of three runs, what two agree on. Where none do, the backend is one whose runs differ.
  void settle(Workload& one) {
    (void)record(one);  // what is chosen once, at a first time, is chosen now
    Recorded first = record(one), second = record(one);
    const auto differs = first_difference(one, first, second);
    if (!differs) {
      one.expected = std::move(first);
      return;
    }
    const Recorded third = record(one);
    const auto from_first = first_difference(one, first, third), from_second = first_difference(one, second, third);
    one.expected = std::move(from_first ? second : first);
    if (from_first && from_second) {
      out_.bitwise = false;
      return;
    }
    // The odd one out.
    Seen odd{first_difference(one, one.expected, from_first ? first : second), 1, 0.0, utc_now(), false};
    note(one, odd, true, Again::transient, "");
  }

  std::optional<WrongValue> first_difference(const Workload& one, const Recorded& expected, const Recorded& got) {
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (auto wrong = watch_.by_bits(one.story, i, expected[i], got[i])) return wrong;
    }
    return std::nullopt;
  }

  // The kept values against the reference, by the limits of chained verification.
  void check(Workload& one) {
    harness::ChainedReference chain(reference_, model_, errors_, options_.seed, one.story.limits, harness::kMoved);
    const std::vector<TapSpec> specs = tap_specs(model_.config);
    for (std::size_t i = 0; i < one.story.calls.size() && !stopped(); ++i) {
      const Call& call = one.story.calls[i];
      const GivenTaps& given = one.expected[i];
      CallLimits limits;
      chain.run(call,
                [&](TapId id, const harness::TapRows& at, const ref::Tensor& exact, const std::vector<double>& rows) {
                  const HostTensor* tap = given.find(id);
                  if (tap == nullptr) return;
                  if (tap->shape() != exact.shape()) throw harness::wrong_tap_shape(id, exact.shape(), tap->shape());
                  const harness::TapPlace place{VerifyMode::chained, Inputs::random, &call, at};
                  judge(harness::check_tap(place, harness::spec_of(specs, id.tap), id, errors_.type_of(id.tap), exact,
                                           tap->widened(), harness::limit_by_row(exact, rows)));
                  if (!out_.bitwise) limits[{id.layer, static_cast<int>(id.tap)}] = {exact, rows};
                });
      one.limits.push_back(std::move(limits));
    }
  }

  void judge(const TapCheck& check) {
    ++out_.checks;
    if (!(check.ratio <= out_.worst_ratio)) out_.worst_ratio = check.ratio;
    if (check.passed || !out_.check_failure.empty()) return;
    out_.check_failure = fmt::format(
        "{} {} in {}, sequence {}, position {}: expected {:.9g}, computed {:.9g}, error / limit {:.3g} (mlbench verify "
        "says more)",
        check.tap, check.worst->element, check.call, check.worst->batch_row, check.worst->position,
        check.worst->expected, check.worst->computed, check.ratio);
  }

  // ---- iterations ----

  GivenTaps ask(Workload& one, const Call& call, bool with_taps) {
    const std::span<const TapId> taps = with_taps ? std::span<const TapId>(taps_) : std::span<const TapId>();
    return harness::run_call(call, model_.config, session_, *one.cache, {.taps = taps, .fault = fault_});
  }

  std::optional<WrongValue> differs(const Workload& one, std::size_t call, const GivenTaps& got) const {
    if (out_.bitwise) return watch_.by_bits(one.story, call, one.expected[call], got);
    return watch_.by_limits(one.story, call, one.limits[call], got);
  }

  // What an iteration showed.
  struct Seen {
    std::optional<WrongValue> first;
    Index wrong_calls = 0;
    double seconds = 0.0;  // of the first
    std::string time;
    bool holds = false;  // the value that was looked for
  };

  Seen once(Workload& one, bool with_taps, const WrongValue* look_for) {
    Seen out;
    for (std::size_t i = 0; i < one.story.calls.size() && !stopped(); ++i) {
      const Call& call = one.story.calls[i];
      const GivenTaps got = ask(one, call, with_taps);
      auto wrong = differs(one, i, got);
      out.wrong_calls += wrong ? 1 : 0;
      if (wrong && !out.first) out = {std::move(wrong), out.wrong_calls, elapsed(), utc_now(), out.holds};
      if (look_for != nullptr) {
        out.holds |= i == look_for->call && Watch::holds(*look_for, got);
        continue;
      }
      ++out_.calls;
      out_.rows += call.rows();
      out_.compared += watch_.values(got);
    }
    if (!out_.interrupted) one.cache->clear();
    return out;
  }

  void iterate(std::size_t which, bool with_taps) {
    Workload& one = workloads_[which];
    const Seen seen = once(one, with_taps, nullptr);
    if (!seen.first) return;
    if (stopped()) return note(one, seen, with_taps, Again::not_run, "");
    const Seen again = once(one, true, &*seen.first);
    ++out_.reruns;
    const Again what = !again.first ? Again::transient : again.holds ? Again::repeatable : Again::varies;
    note(one, seen, with_taps, what, again.first ? soak::describe(*again.first, one.story) : "");
  }

  void note(const Workload& one, const Seen& seen, bool with_taps, Again again, const std::string& again_first) {
    ++out_.wrong_iterations;
    if (out_.faults.size() >= kMostFaults) return;
    const WrongValue& wrong = *seen.first;
    const Call& call = one.story.calls[wrong.call];
    SoakFault out;
    out.seconds = seen.seconds;
    out.time = seen.time;
    out.iteration = out_.iterations;
    out.workload = static_cast<Index>(&one - workloads_.data());
    out.call = call.label;
    out.method = backends::name(call.method);
    out.sequence = wrong.sequence;
    out.position = wrong.position;
    out.tap = to_string(wrong.tap);
    out.element = wrong.where;
    out.expected = wrong.expected;
    out.computed = wrong.computed;
    out.expected_bits = wrong.expected_bits;
    out.computed_bits = wrong.computed_bits;
    out.bits = wrong.bits;
    out.straying = wrong.straying;
    out.wrong_calls = seen.wrong_calls;
    out.with_taps = with_taps;
    out.again = again;
    out.again_first = again_first;
    out_.faults.push_back(std::move(out));
  }

  // ---- the end ----

  [[nodiscard]] double elapsed() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  [[nodiscard]] bool stopped() {
    if (!out_.interrupted && options_.interrupted && options_.interrupted()) out_.interrupted = true;
    return out_.interrupted;
  }
  [[nodiscard]] bool over() {
    if (stopped()) return true;
    if (options_.stop_at_first && (out_.wrong_iterations > 0 || !out_.findings.empty())) return true;
    if (options_.iterations > 0 && out_.iterations >= options_.iterations) return true;
    return out_.iterations > 0 && elapsed() >= options_.seconds;
  }
  void tell(const std::string& doing, double done) {
    if (options_.progress) options_.progress(doing, done);
  }
  void blame(Finding finding) {
    const bool known = std::ranges::find(out_.findings, finding.code, &Finding::code) != out_.findings.end();
    if (!known) out_.findings.push_back(std::move(finding));
  }

  const Model& model_;
  backends::Session& session_;
  const SoakOptions& options_;
  SoakResults& out_;
  ref::Reference reference_;
  harness::ErrorModel errors_;
  std::vector<Story> stories_;
  Keep keep_;
  std::vector<TapId> taps_;
  Watch watch_;
  std::vector<Workload> workloads_;
  Clock::time_point start_{};
  const harness::FaultReport fault_ = [this](Finding finding) { blame(std::move(finding)); };
};

SoakResults heading(const Model& model, const backends::Backend& backend, const SoakOptions& options) {
  const BackendVerification names = harness::verification_of(model, backend, options.run);
  SoakResults out;
  out.started = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  out.model = names.model;
  out.architecture = names.architecture;
  out.backend = names.backend;
  out.version = names.version;
  out.device = names.device;
  out.dtype = names.dtype;
  out.threads = options.run.threads;
  out.seed = options.seed;
  out.asked_seconds = options.seconds;
  return out;
}

}  // namespace

std::uint64_t memory_estimate(const ModelConfig& config, const backends::Backend& backend, const SoakOptions& options) {
  harness::BackendOptions verification;
  verification.run = options.run;
  verification.isolated = false;
  const std::vector<Story> stories = stories_of(config, options);
  const std::uint64_t kept = bytes_of(config, stories, keep_of(config, stories, options.most_bytes));
  return harness::memory_estimate(config, options.run.dtype, backend, stories, verification) +
         3 * kept;  // three runs are compared before the first iteration
}

SoakResults soak(const Model& model, backends::Backend& backend, const SoakOptions& options, Workers& workers) {
  SoakResults out = heading(model, backend, options);
  out.environment = measure::capture_environment({.threads = options.run.threads});
  std::optional<TelemetryLog> log;  // of the iterations: its seconds are those of faults
  try {
    const Model rounded = rounded_to(model, options.run.dtype, workers);
    const auto session = backend.load(rounded, options.run);
    Soak run(rounded, *session, options, workers, out);
    if (run.prepare()) {
      log.emplace(options.telemetry);
      run.run();
    }
  } catch (const Error& error) {
    const std::string when = out.iterations > 0 ? fmt::format(" (in iteration {})", out.iterations) : "";
    out.error = fmt::format("{}: {}{}", error.code(), error.message(), when);
  } catch (const std::exception& error) {
    out.error = error.what();
  }
  if (log) out.telemetry = log->finish();
  const auto changes = measure::warnings_between(out.environment, measure::capture_environment());
  out.telemetry.warnings.insert(out.telemetry.warnings.end(), changes.begin(), changes.end());
  return out;
}

}  // namespace mlbench::soak
