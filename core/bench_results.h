// What a benchmark measured, and what a comparison of two made of it, independent of how they are shown.
// harness/measure fills these, reports/ renders them. Times are in seconds, sizes in bytes, rates per second.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/tensor.h"

namespace mlbench {

// One configuration of a sweep: what was run, in the words of the command line. Two rows with the same point and the
// same method measure the same thing.
struct BenchPoint {
  std::string model;         // "llama-small", or a checkpoint's folder
  std::string architecture;  // "llama"
  std::string backend;       // "cpu", or the library's own name
  std::string device;        // its id
  std::string dtype;         // storage of weights and cache
  int threads = 0;
  Index batch = 1;      // sequences
  Index prompt = 0;     // tokens of each sequence that prefill takes
  Index gen = 0;        // tokens of each that decode makes after it
  Index depth = 0;      // tokens of each that stand in the cache before
  Index page_size = 0;  // of the cache, in tokens
  Index tensor_parallel = 1, pipeline_parallel = 1;
  bool disaggregated = false;  // prefill and decode apart, on as many ranks each
  Index replicas = 1;          // models side by side, each with these sequences

  // Of all replicas in one repetition: those of the prompts, or those that are made.
  [[nodiscard]] Index tokens(bool decode) const { return replicas * batch * (decode ? gen : prompt); }

  friend bool operator==(const BenchPoint&, const BenchPoint&) = default;
};

// A figure and the interval that holds its true value with the run's confidence.
struct Estimate {
  double value = 0.0, low = 0.0, high = 0.0;
};

// The outcome of checking the outputs of the timed repetitions.
enum class BenchCheck {
  passed,       // all of them, by the verification's limits
  sampled,      // so many positions that the reference could afford; the rest against the backend's own other way
  failed,       // a value beyond its limit
  implausible,  // the right values in less time than the device can do the work
  unchecked,    // on request
};
[[nodiscard]] std::string_view name(BenchCheck check);
[[nodiscard]] std::optional<BenchCheck> parse_bench_check(std::string_view text);

// Why a row has no more samples.
enum class BenchStop {
  precision,    // the interval of the median is narrow enough
  max_time,     // the time for this row is spent
  interrupted,  // by the user
};
[[nodiscard]] std::string_view name(BenchStop stop);
[[nodiscard]] std::optional<BenchStop> parse_bench_stop(std::string_view text);

// One method at one point: "prefill" is one call for the whole prompt of all sequences, embedding and logits included;
// "decode" is `gen` calls of one token of each.
// Where one rank of a split model spent a row's samples: what it computed, what it exchanged with others, and what is
// left of the time, in which it waited for its turn. And, of the last sample, when it did what: seconds of one clock.
struct RankEvent {
  std::string activity;  // "work", and within it "all-reduce", "send", "receive", "transfer"
  double begin = 0.0, end = 0.0;
};
struct RankTimes {
  Index rank = 0;
  std::string host;
  bool pinned = false;  // to processors of its own
  double compute_seconds = 0.0, communication_seconds = 0.0, waiting_seconds = 0.0;
  double transfer_seconds = 0.0;  // of these exchanged: entries of the cache, from one instance to the other
  std::uint64_t reduced_bytes = 0, sent_bytes = 0, transferred_bytes = 0;
  std::uint64_t peak_memory_bytes = 0;  // of its process so far
  std::vector<RankEvent> events;
};

// What splitting came to, beside the row of the same run that differs in nothing but the split and has none.
struct Scaling {
  double speedup = 0.0;              // tokens per second / those of that row
  std::optional<double> efficiency;  // speedup / ranks, where a rank has as many threads as that row
};

struct BenchRow {
  BenchPoint point;
  std::string method;                      // "batch_prefill"
  bool decode = false;                     // samples are whole sequences of steps
  std::vector<double> samples;             // seconds of each repetition
  std::vector<std::vector<double>> steps;  // decode: seconds of each step of each repetition
  std::vector<double> started;             // of each repetition: seconds since the run began
  Index warmup_repetitions = 0;            // before these, not counted
  double warmup_seconds = 0.0;
  bool steady = true;  // the warm-up ended because times had settled, not because its time was up
  BenchStop stop = BenchStop::precision;

  std::optional<Estimate> median;             // of samples; nothing where there are none
  std::optional<Estimate> tokens_per_second;  // batch * prompt, or batch * gen, through that
  double spread = 0.0;                        // median absolute deviation / median
  // Seconds per step; of prefill, the first is the time to first token. Nothing where there are too few samples.
  std::optional<double> p50, p90, p99;

  BenchCheck check = BenchCheck::unchecked;
  double check_ratio = 0.0;    // largest error / limit
  std::string check_text;      // what was compared, or what strays
  double floor_seconds = 0.0;  // a repetition cannot take less; 0: not known

  double flops_per_token = 0.0, bytes_per_token = 0.0;  // that the model needs; 0: not known
  std::optional<double> mfu, mbu;                       // share of the device's measured rates
  std::optional<double> joules_per_token;
  std::uint64_t peak_memory_bytes = 0;  // of the process, when the row was done

  std::vector<RankTimes> ranks;  // of a split model
  std::optional<Scaling> scaling;

  std::string unsupported;  // the reason; then nothing above but the point and the method is set
  std::string error;        // what the backend threw
};

// What a device reaches in practice, measured in the same process. 0: not measured.
struct ProbeResult {
  std::string backend, device, dtype;
  int threads = 0;
  double read_bytes_per_second = 0.0;
  double flops_per_second = 0.0;
};

// Where a run took place: facts by name ("cpu", "kernel", "governor", "mlbench commit"), in a fixed order.
struct Environment {
  std::vector<std::pair<std::string, std::string>> facts;
  std::vector<std::string> warnings;  // what makes its figures doubtful

  [[nodiscard]] std::string fact(std::string_view name) const;  // "" where it is not known
};

struct BenchRun {
  std::string started;  // 2026-11-21T10:00:00Z
  std::string command;
  std::uint64_t seed = 0;
  double precision = 0.0, confidence = 0.0, max_time = 0.0;  // as asked for
  bool checked = true;
  bool interrupted = false;
  Index shard = 1, shards = 1;
  Environment environment;
  std::vector<ProbeResult> probes;
  std::vector<BenchRow> rows;  // in the order of the sweep
};

// ---- comparison ----

enum class Difference { same, faster, slower, undecided };
[[nodiscard]] std::string_view name(Difference difference);

// One row of two runs, or of two sets of runs.
struct ComparedRow {
  BenchPoint point;
  std::string method;
  Index base_samples = 0, new_samples = 0;     // repetitions; runs, where sets of runs are compared
  double base_median = 0.0, new_median = 0.0;  // seconds
  Estimate ratio;                              // new / base: above 1 is slower
  double p_value = 1.0;  // Mann-Whitney, or signed ranks of interleaved runs; corrected for the number of rows
  Difference difference = Difference::undecided;
  Index samples_to_decide = 0;  // of each side, where it is undecided; 0: no number would
  std::string not_compared;     // the reason: "device differs: ..."; then nothing above but the point is set
};

struct BenchComparison {
  std::string base, next;  // the files
  double floor = 0.0;      // smallest change of the median that counts: 0.02
  double confidence = 0.0;
  std::vector<ComparedRow> rows;
  std::vector<std::string> only_base, only_new;  // rows that one side lacks
  std::vector<std::string> warnings;

  [[nodiscard]] bool any(Difference difference) const;
};

// "llama-small cpu f32, 2 threads, batch 1, prompt 64, gen 16: decode"
[[nodiscard]] std::string describe(const BenchPoint& point, std::string_view method);

}  // namespace mlbench
