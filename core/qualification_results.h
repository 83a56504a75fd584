// What a qualification did and found, independent of how it is shown. harness/qualify fills this, reports/ renders it.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace mlbench {

enum class StepVerdict {
  passed,
  failed,       // the step says no
  unsupported,  // the backend has nothing of what was asked
  broken,       // it ended with an exit code or signal that is no verdict
  skipped,      // what it needs is not here; the note says what
  interrupted,  // by the user, before its end
  not_run,      // the user had interrupted the qualification before
};
[[nodiscard]] std::string_view name(StepVerdict verdict);

struct QualificationStep {
  std::string name;  // "verify-llama-bf16"
  std::vector<std::string> command;
  StepVerdict verdict = StepVerdict::not_run;
  int exit_code = 0;
  double seconds = 0.0;
  std::string note;                // why it was skipped, or could not be started; "done before"
  std::vector<std::string> files;  // in the folder, what is to be read first before the others; its log is the last
  std::string finding;             // what its log ends with, where it did not pass
};

struct Qualification {
  std::string program;              // "mlbench 0.1.0 (commit)"
  std::string started, finished;    // UTC
  std::string command;              // that repeats it
  std::string backend, version;     // what it computes with
  std::string device, description;  // the id, and what the backend says of it
  bool quick = false;
  bool interrupted = false;
  std::vector<std::pair<std::string, std::string>> inventory;
  std::vector<std::string> warnings;  // what makes figures doubtful
  std::vector<QualificationStep> steps;
  // What steps wrote as JSON, by their names: "verify-llama-bf16", "probe", "bench", "soak", "siblings".
  std::map<std::string, nlohmann::ordered_json> documents;

  [[nodiscard]] int count(StepVerdict verdict) const;
  // Every step passed, or was skipped with a reason, and at least one passed.
  [[nodiscard]] bool passed() const;
};

}  // namespace mlbench
