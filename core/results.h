// What a verification found, independent of how it is shown. harness/ fills these, reports/ renders them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/tensor.h"

namespace mlbench {

// One element of a tap that lies further from the golden than the limit allows.
struct Mismatch {
  Index batch_row = 0;    // sequence of the call
  Index position = 0;     // of the token in its sequence
  std::string element;    // index inside the tap's row: "[17]", "head 2 [5]", "head 2 key 4"
  double expected = 0.0;  // the golden's value
  double computed = 0.0;
};

// One dataset of a golden against one tap of the model.
struct TapResult {
  std::string method;  // the inference method whose call this is: "prefill", "decode", ...
  std::string step;    // the golden's group: "prefill", "decode/2", "chunked/0"
  std::string dataset;
  std::string tap;   // "layers.3.attn.q"
  Index layer = -1;  // -1 outside the layers
  Index elements = 0;
  Index straying = 0;         // elements beyond the limit
  double max_error = 0.0;     // infinite where a value is not a number
  double max_expected = 0.0;  // the golden's largest magnitude
  double limit = 0.0;         // that max_error must not exceed
  bool passed = false;
  std::optional<Mismatch> worst;  // where it did not pass

  [[nodiscard]] double ratio() const { return max_error / limit; }
};

struct Uncompared {
  std::string dataset;
  std::string reason;
};

struct GoldenVerification {
  std::string model;  // where it came from
  std::string architecture;
  std::string golden;  // path
  std::string backend;
  std::string dtype;
  double rtol = 0.0;            // limit = rtol * max|golden| of the tap, rtol itself where that is 0
  std::vector<TapResult> taps;  // in the order of computation
  std::vector<Uncompared> uncompared;
  Index result_datasets = 0;  // that the golden holds
  Index compared_datasets = 0;
  std::vector<std::string> warnings;
  std::vector<std::string> notes;  // what may explain a failure

  [[nodiscard]] const TapResult* first_failure() const;
  [[nodiscard]] bool enough_compared() const;  // at least 95% of the golden's result datasets
  [[nodiscard]] bool passed() const { return first_failure() == nullptr && enough_compared(); }
};

// ---- a backend against the live reference ----

// isolated: every part of the stack is fed the reference's own input. chained: the backend runs freely. exact: as
// isolated, on a model whose values leave nothing to round, so that the limit is 0 wherever no operator must round.
enum class VerifyMode { isolated, chained, exact };
inline constexpr VerifyMode kVerifyModes[] = {VerifyMode::isolated, VerifyMode::chained, VerifyMode::exact};
[[nodiscard]] std::string_view name(VerifyMode mode);

// What a model and a plan are made to show. random: an everyday run. adversarial: what mistakes hide behind elsewhere.
enum class Inputs { random, exact, adversarial };
inline constexpr Inputs kInputs[] = {Inputs::random, Inputs::exact, Inputs::adversarial};
[[nodiscard]] std::string_view name(Inputs inputs);
[[nodiscard]] std::optional<Inputs> parse_inputs(std::string_view text);

// One tap of one call in one mode.
struct TapCheck {
  VerifyMode mode = VerifyMode::isolated;
  Inputs inputs = Inputs::random;
  std::string call;    // the plan's label: "batch/2 batch_decode"
  std::string method;  // "batch_decode"
  std::string tap;     // "layers.3.attn.q"
  std::string kind;    // the same without its layer: "attn.q"
  Index layer = -1;    // -1 outside the layers
  Index elements = 0;
  Index straying = 0;  // elements whose error is not within their limit
  double ratio = 0.0;  // the largest error / limit; infinite where a value is not a number, or the limit is 0
  // Of that element: its error against the exact value, what that must not exceed, its error against the exact value
  // rounded to the tap's type, and that rounding.
  double error = 0.0, limit = 0.0, rounded_error = 0.0, rounding = 0.0;
  bool loose = false;  // a constant in place of the values, their mean, would have passed
  bool passed = false;
  std::optional<Mismatch> worst;  // where it did not pass
  std::string guess;              // then: what the pattern of straying elements looks like; empty: like nothing known
};

// Something that was seen of a run as a whole, or of a call, and that is no tap's error.
struct Finding {
  std::string code;   // "memory.canary", "untrusted.loose": the codes of docs/errors.md
  std::string where;  // the call, the tap, or both
  std::string text;   // what was seen, for people
};

// The backend's logits as distributions, against the reference's; chained mode.
struct LogitsAgreement {
  Index rows = 0;
  double mean_kl = 0.0, max_kl = 0.0;  // KL(reference || backend), in nats
  std::string max_kl_call;
  Index same_top1 = 0;              // rows with the reference's most likely token on top
  Index close_top1 = 0;             // rows where it is another one, and the limits of both allow that
  double mean_top10_overlap = 0.0;  // share of the reference's ten most likely tokens (fewer: all) among the backend's
};

// Two ways to compute the same rows on one backend.
struct ScheduleComparison {
  std::string a, b;             // "whole", "chunked", "page size 1"
  bool bitwise = false;         // every tap of every row
  double max_difference = 0.0;  // over all taps
  double ratio = 0.0;           // the largest difference / sum of both limits; 0 where they are equal
  std::string first_tap;        // that differs at all, in the order of computation; empty: none
  Index position = -1;          // of the row where it does
  bool passed = false;          // ratio <= 1
};

// A property of repeated runs: of one another, in a batch or alone, with taps or without.
struct Invariance {
  std::string property;   // "run to run", "batch", "taps on = off"
  bool holds = false;     // bitwise
  bool required = false;  // fails the run where it does not hold
  double max_difference = 0.0;
  std::string first_tap;  // that differs; empty: none
  std::string call;
};

// Something that was asked for and not done, with the reason.
struct Unsupported {
  std::string what;
  std::string reason;
};

// How far the backend's taps of one kind lie from a golden: the largest max|difference| / max|golden|.
struct GoldenDistance {
  std::string kind;
  double distance = 0.0;
  std::string call;
};

// How a model was split, and the host of each worker's process; of one that was not, none.
struct SplitDescription {
  Index tensor_parallel = 1, pipeline_parallel = 1;
  Index micro_batches = 1;
  bool disaggregated = false;  // held twice, prompts by one half of the ranks
  Index replicas = 1;          // so many side by side, each asked everything
  Index mapped = 0;            // ranks that mapped their parts of a checkpoint's files themselves
  std::vector<std::string> hosts;
};

struct BackendVerification {
  std::string model, architecture, backend, version, device, dtype;
  SplitDescription split;
  std::vector<std::pair<std::string, std::string>> arithmetic;  // as declared: {"accumulation", "f32"}
  bool worst_case_bounds = false;  // of sums, in place of those that hold with a stated probability
  std::uint64_t seed = 0;
  std::vector<TapCheck> checks;           // in the order of computation, one mode after the other
  std::string golden;                     // the path of the golden whose inputs were run; empty: none
  std::vector<GoldenDistance> distances;  // to it, in chained mode; reported, not judged
  std::vector<Finding> faults;            // each fails the run
  std::vector<Finding> untrusted;         // why what passed may mean nothing
  std::optional<LogitsAgreement> logits;
  std::vector<ScheduleComparison> schedules;  // every pair; empty: not compared
  std::vector<Invariance> invariances;
  std::vector<Unsupported> unsupported;
  std::vector<std::string> warnings;
  std::string error;  // what the backend itself threw; empty: nothing
  std::string again;  // the command that runs the first failure alone
  std::uint64_t memory_estimate_bytes = 0;
  std::uint64_t memory_peak_bytes = 0;  // of the process so far

  // Isolated ones come before exact ones (on another model), and those before chained ones: they tell where the error
  // is made.
  [[nodiscard]] const TapCheck* first_failure() const;
  // error: the backend threw. failed: a tap, a schedule, a required invariance or a fault. untrusted: nothing failed,
  // and that shows too little. unsupported: nothing was checked.
  enum class Verdict { passed, failed, untrusted, error, unsupported };
  [[nodiscard]] Verdict verdict() const;
  [[nodiscard]] bool passed() const { return verdict() == Verdict::passed; }
};
[[nodiscard]] std::string_view name(BackendVerification::Verdict verdict);

}  // namespace mlbench
