// What a soak found, independent of how it is shown. harness/soak fills this, reports/ renders it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/bench_results.h"
#include "core/results.h"
#include "core/telemetry.h"

namespace mlbench {

// What became of a wrong value when its iteration was run once more.
enum class Again {
  not_run,     // it was not: the time was up, or the user interrupted
  transient,   // everything was right
  repeatable,  // the same bits were wrong in the same place
  varies,      // something else was wrong
};
[[nodiscard]] std::string_view name(Again again);

// The first wrong value of an iteration, in the order of computation.
struct SoakFault {
  double seconds = 0.0;  // since the soak began
  std::string time;      // UTC: 2026-11-22T10:00:00.123Z
  Index iteration = 0;   // from 1 on; 0: before the first
  Index workload = 0;    // from 0 on
  std::string call;      // "workload-0/7 batch_decode"
  std::string method;    // "batch_decode"
  Index sequence = 0;
  Index position = 0;  // of the token in its sequence
  std::string tap;     // "layers.3.attn.q"
  std::string element;
  double expected = 0.0, computed = 0.0;
  std::string expected_bits, computed_bits;  // as stored: "0x3f800000"; empty where values are held against limits
  std::vector<int> bits;                     // that differ, 0 the lowest
  Index straying = 0;                        // wrong elements of this tap in this call
  Index wrong_calls = 0;                     // calls of the iteration with a wrong value
  bool with_taps = false;                    // the iteration gave its taps: then nothing before this one was wrong
  Again again = Again::not_run;
  std::string again_first;  // where the run once more, with taps, was wrong first: "layers.2.mlp_out [5] in ..."
};

struct SoakResults {
  std::string started;  // 2026-11-21T10:00:00Z
  std::string command;
  std::string model, architecture, backend, version, device, dtype;
  int threads = 0;
  std::uint64_t seed = 0;
  double asked_seconds = 0.0;
  double seconds = 0.0;  // that were spent on iterations
  Index workloads = 0;
  Index iterations = 0, with_taps = 0, reruns = 0;
  Index calls = 0, rows = 0;      // of the iterations
  std::uint64_t compared = 0;     // values of taps and logits, in the iterations
  std::string kept;               // what was compared where taps are given: "all taps", "outputs of layers", "results"
  bool bitwise = true;            // values must be those of the checked run; else within its limits
  std::string criterion;          // the same in words
  Index checks = 0;               // of the run that all others are compared with, against the float64 reference
  double worst_ratio = 0.0;       // the largest error / limit among them
  std::string check_failure;      // the first that failed; empty: none did
  Index wrong_iterations = 0;     // with a wrong value
  std::vector<SoakFault> faults;  // the first hundred
  std::vector<Finding> findings;  // codes of docs/errors.md, each once
  std::string error;              // what the backend threw; then nothing ran after it
  bool interrupted = false;
  Environment environment;  // before
  Telemetry telemetry;

  // error: the backend threw. failed: a wrong value or a finding. untrusted: no iteration was run.
  [[nodiscard]] BackendVerification::Verdict verdict() const;
};

}  // namespace mlbench
