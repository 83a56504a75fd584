// The history: every verification and benchmark that was run, in one SQLite file. Several programs may use the file at
// once, on one machine; a program that is killed leaves it whole. What add() returned for is on the disk.
//
// Each run is kept twice: its document (what --json writes) as it was, and figures of it in columns, by which runs are
// found and drawn. All throw Error: store.unusable (request: the file is none of ours, damaged, of a later version, or
// cannot be opened or written; the text names it), store.busy (request: another program held it too long),
// store.missing (request: no such run).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/bench_results.h"

namespace mlbench::reports {

using RunId = std::int64_t;

enum class StoredKind { verification, benchmark };
[[nodiscard]] std::string_view name(StoredKind kind);  // "verify", "bench"

// What a run is found by. Empty text: not known.
struct RunHead {
  RunId id = 0;  // given by add()
  StoredKind kind = StoredKind::verification;
  std::string started;   // UTC, 2026-11-21T10:00:00Z
  std::string revision;  // of what was tested: --revision, or what a CI system says; a git hash mostly
  std::string branch;    // the same
  std::string label;     // --label: anything
  std::string host, processor;
  std::string program;  // "mlbench 0.1.0 (commit)", or "google-benchmark", "llama-bench" of imported results
  std::string command;  // that repeats it
  // The worst of its parts: "passed", "failed", "untrusted", "error", "unsupported"; of benchmarks also "unchecked".
  std::string verdict;
};

// A part of a verification: one model, backend and type.
struct StoredVerification {
  RunId run = 0;
  std::string model, architecture, backend, backend_version, device, dtype;
  Index tensor_parallel = 1, pipeline_parallel = 1, replicas = 1;
  bool disaggregated = false;
  std::string verdict;
  Index checks = 0, failed = 0;
  std::optional<double> isolated, chained, exact;  // the largest error / limit of the mode; may be infinite
};

// The worst of a part's taps of one kind in one layer and mode.
struct StoredTap {
  RunId run = 0;
  Index part = 0;  // of the run's verifications, from 0 on
  std::string kind;
  Index layer = -1;  // -1: outside the layers
  std::string mode;
  double ratio = 0.0, error = 0.0, limit = 0.0;
  Index failed = 0;
};

// A row of a benchmark.
struct StoredRow {
  RunId run = 0;
  BenchPoint point;
  std::string method;
  bool decode = false;
  std::optional<Estimate> tokens_per_second;
  std::optional<Estimate> median;  // seconds
  Index samples = 0;
  std::string check;  // "passed", "sampled", "failed", "implausible", "unchecked", "error", "unsupported"
  std::optional<double> mfu, mbu, joules_per_token;
  double flops_per_token = 0.0, bytes_per_token = 0.0;  // 0: not known
  std::uint64_t peak_memory_bytes = 0;
};

// What a device reached in a benchmark's process.
struct StoredProbe {
  RunId run = 0;
  ProbeResult probe;
};

// A fact of a run's surroundings.
struct StoredFact {
  RunId run = 0;
  std::string name, value;
};

// Which runs: all that meet every condition that is set. Text is compared whole, but for `revision`, a beginning.
struct RunFilter {
  std::vector<RunId> ids;  // empty: any
  std::optional<StoredKind> kind;
  std::string since, before;  // of `started`: 2026-11-21, or a whole time
  std::string revision, branch, label, host, verdict;
  std::string backend, architecture, model, dtype, device;  // of any of its parts or rows
  std::optional<std::size_t> newest;                        // no more than so many, the last by time
};

class Store {
 public:
  enum class Access { read, write };  // write: made where there is none, and brought to this program's version

  Store(const std::filesystem::path& file, Access access);
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  // $MLBENCH_STORE; else mlbench/history.db in $XDG_DATA_HOME, or in ~/.local/share. Empty where neither is known, and
  // where the first is set to nothing or to "none".
  [[nodiscard]] static std::filesystem::path default_file();

  // The run, whole or not at all. Its figures are taken from the document: what mlbench verify or bench writes with
  // --json, or another format that read_bench_run knows. What the document says of itself stands where `head` says
  // nothing; kind and verdict are the document's, `environment` is what is known of the machine where the document does
  // not say, and now the moment where neither does. Throws verify.format and what read_bench_run throws, too.
  RunId add(const RunHead& head, const std::string& document, const Environment& environment = {});
  // A document of an earlier run. One that is there already, with nothing new in `head`, is not stored again: its id is
  // returned, and `known` says so. `where` names it in messages; `otherwise_started` is the moment where neither it nor
  // `head` says one (empty: now).
  struct Imported {
    RunId id = 0;
    bool known = false;
  };
  Imported import(const RunHead& head, const std::string& document, const std::string& where,
                  const std::string& otherwise_started);

  // By time, then by id. What belongs to a run is in the order of its document. Each call sees the store at one moment;
  // between two of them others may add runs.
  [[nodiscard]] std::vector<RunHead> runs(const RunFilter& filter) const;
  [[nodiscard]] std::vector<StoredVerification> verifications(const RunFilter& filter) const;
  [[nodiscard]] std::vector<StoredTap> taps(const RunFilter& filter) const;
  [[nodiscard]] std::vector<StoredRow> rows(const RunFilter& filter) const;
  [[nodiscard]] std::vector<StoredProbe> probes(const RunFilter& filter) const;
  [[nodiscard]] std::vector<StoredFact> facts(const RunFilter& filter) const;
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> environment(RunId run) const;
  [[nodiscard]] std::string document(RunId run) const;

  // How many were removed; the file is made smaller.
  std::size_t remove(const RunFilter& filter);

 private:
  struct Database;
  std::unique_ptr<Database> database_;
};

}  // namespace mlbench::reports
