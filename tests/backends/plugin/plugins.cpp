#include "tests/backends/plugin/plugins.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "models/presets.h"
#include "models/synthetic.h"

namespace mlbench::plugin::test {
namespace {

// The parent of a process, as Linux tells it: "PID (NAME) STATE PARENT ..."; 0 where there is none.
pid_t parent_of(const std::filesystem::path& process) {
  std::ifstream file(process / "stat");
  std::string text;
  std::getline(file, text);
  const std::size_t end = text.rfind(") ");
  return end == std::string::npos
             ? 0
             : static_cast<pid_t>(std::strtol(text.c_str() + end + 4, nullptr, 10));  // behind the state
}

}  // namespace

OpenOptions in_child(double time_limit_s) {
  return {.in_process = false, .process = {.program = MLBENCH_PROGRAM, .time_limit_s = time_limit_s}};
}

std::unique_ptr<backends::Backend> open_child(const std::string& library, double time_limit_s) {
  return open_plugin(library, in_child(time_limit_s));
}

std::unique_ptr<backends::Backend> open_here(const std::string& library) {
  return open_plugin(library, {.in_process = true, .process = {}});
}

Model small_model(Architecture architecture, DType dtype, const nlohmann::json& overrides) {
  const bool bigcode = architecture == Architecture::gpt_bigcode;
  nlohmann::json fields = {{bigcode ? "n_layer" : "num_hidden_layers", 2}};
  fields.update(overrides);
  Workers workers(1);
  return make_synthetic(preset_config(small_preset(architecture), fields), dtype, 1, workers);
}

// A child that was built with a sanitizer ends by its own report otherwise, not by the signal.
Fault::Fault(const char* what) {
  ::setenv("MLBENCH_TEST_FAULT", what, 1);
  for (const char* options : {"ASAN_OPTIONS", "TSAN_OPTIONS"}) ::setenv(options, "handle_segv=0", 1);
}
Fault::~Fault() {
  for (const char* name : {"MLBENCH_TEST_FAULT", "ASAN_OPTIONS", "TSAN_OPTIONS"}) ::unsetenv(name);
}

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> out;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    if (parent_of(entry.path()) == parent)
      out.push_back(static_cast<pid_t>(std::strtol(entry.path().filename().c_str(), nullptr, 10)));
  }
  return out;
}

int children() { return static_cast<int>(children_of(::getpid()).size()); }

}  // namespace mlbench::plugin::test
