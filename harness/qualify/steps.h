// The steps of a qualification: each is a command of the program itself, run in a process of its own, so that a crash
// of what is tested loses nothing else.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/qualification_results.h"

namespace mlbench::qualify {

// The kinds of steps, in their order: --steps takes their names.
inline constexpr const char* kStepKinds[] = {"kernels", "verify", "sanitizer", "probe", "bench", "soak", "siblings"};

struct StepOptions {
  std::string program;             // of mlbench
  std::string backend, device;     // the device may be empty: the backend's first
  std::vector<std::string> archs;  // of all steps
  bool quick = false;
  double minutes = 0.0;      // of the soak
  std::string soak_preset;   // its model; empty: the small one of the first architecture
  std::string folder;        // where the results go
  std::string sweep;         // the file of the benchmark's points
  std::string kernel_tests;  // a program that tests the kernels; empty: `why_no_kernels` says why
  std::string why_no_kernels;
  std::string sanitizer;  // compute-sanitizer; empty: `why_no_sanitizer`
  std::string why_no_sanitizer;
  std::vector<std::string> kinds;   // these alone; empty: all
  std::vector<std::string> plugin;  // options of a backend in a library, handed on

  [[nodiscard]] bool on_host() const { return device == "host"; }
};

struct Step {
  std::string name, kind;
  std::vector<std::string> command;  // empty: it is skipped
  std::string why_skipped;
  std::vector<std::string> files;  // that it writes in the folder, what is to be read first before the others
  bool has_document = false;       // NAME.json
  bool resumes = false;            // NAME.json of an interrupted run is gone on with (--resume)
};

[[nodiscard]] std::vector<Step> plan_steps(const StepOptions& options);

// What has been done with the same program in the same folder is not done again: `digest` is of the program.
class Runner {
 public:
  Runner(std::string folder, std::string digest, std::function<bool()> interrupted);

  // Runs it, or takes over what it did before. Its log is logs/NAME.log.
  [[nodiscard]] QualificationStep run(const Step& step);
  // Its JSON; throws where it cannot be read.
  [[nodiscard]] nlohmann::ordered_json document(const Step& step) const;

 private:
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }
  [[nodiscard]] bool done_before(const Step& step, QualificationStep& out) const;
  void execute(const Step& step, QualificationStep& out);
  int run_command(const std::vector<std::string>& command, const std::string& log, QualificationStep& out);

  std::string folder_, digest_;
  std::function<bool()> interrupted_;
};

}  // namespace mlbench::qualify
