// What the commands share: one function each to declare its options, which leaves behind what to run.
#pragma once

#include <functional>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "core/workers.h"
#include "models/weights.h"

namespace mlbench::cli {

// What a command line asks for; set by the command that was named. Returns the exit code.
using Action = std::function<int()>;

// Adds the command to `app`; when it is the one that was named, `action` is set.
void add_bench_command(CLI::App& app, Action& action);
void add_bench_worker_command(CLI::App& app, Action& action);
void add_compare_command(CLI::App& app, Action& action);
void add_golden_command(CLI::App& app, Action& action);
void add_history_command(CLI::App& app, Action& action);
void add_list_command(CLI::App& app, Action& action);
void add_plugin_host_command(CLI::App& app, Action& action);
void add_probe_command(CLI::App& app, Action& action);
void add_qualify_command(CLI::App& app, Action& action);
void add_report_command(CLI::App& app, Action& action);
void add_selftest_command(CLI::App& app, Action& action);
void add_siblings_command(CLI::App& app, Action& action);
void add_soak_command(CLI::App& app, Action& action);
void add_verify_command(CLI::App& app, Action& action);

// Options that name a model: --arch, --preset or --model, and --set FIELD=VALUE.
class ModelOptions {
 public:
  // `several`: --arch takes a list, separated by commas, and each() takes it apart.
  void add_to(CLI::App& command, bool several = false);

  // True when any of --arch, --preset and --model was given.
  [[nodiscard]] bool given() const;
  // One choice for each architecture of the list.
  [[nodiscard]] std::vector<ModelOptions> each() const;
  // The same options, but of this model: one of the three is not empty.
  [[nodiscard]] ModelOptions of(const std::string& arch, const std::string& preset, const std::string& folder) const;
  // For people: "olmo-small", or the folder. For a shell: the options that make this choice again.
  [[nodiscard]] std::string description() const;
  [[nodiscard]] std::string command_line() const;
  [[nodiscard]] std::uint64_t seed() const { return seed_; }
  [[nodiscard]] ModelConfig config() const;
  // With weights: the checkpoint's, or synthetic ones of `dtype`.
  [[nodiscard]] Model load(DType dtype, bool strict, Workers& workers) const;

 private:
  [[nodiscard]] std::string preset() const;
  [[nodiscard]] nlohmann::json overrides() const;

  std::string arch_, preset_, folder_;
  std::vector<std::string> settings_;
  std::uint64_t seed_ = 1;
};

// What this process was started with, for a shell.
[[nodiscard]] std::string own_command_line();

// As one word of a POSIX shell.
[[nodiscard]] std::string shell_word(const std::string& text);

// Writes to standard output; throws an internal error when that fails (a full disk, a closed pipe is none).
void print(const std::string& text);

// As it is printed and written. Text in it may be none (folders' names).
[[nodiscard]] std::string json_text(const nlohmann::ordered_json& json);

// Whether a stream is a terminal; whether to colour what is written to standard output (--color auto|always|never).
[[nodiscard]] bool stderr_is_terminal();
[[nodiscard]] bool use_color(const std::string& when);

}  // namespace mlbench::cli
