// The commands under `mlbench history`, a file each, and what they share: which runs are meant.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "reports/store/store.h"

namespace mlbench::cli {

// Each adds its command to `history`; when it is the one that was named, `action` is set.
void add_history_drift(CLI::App& history, Action& action);
void add_history_export(CLI::App& history, Action& action);
void add_history_import(CLI::App& history, Action& action);
void add_history_list(CLI::App& history, Action& action);
void add_history_prune(CLI::App& history, Action& action);
void add_history_show(CLI::App& history, Action& action);

// Options that pick runs. All must hold of a run.
class RunFilterOptions {
 public:
  // `before`: what is said of that option, which means more to some commands.
  void add_to(CLI::App& command, const std::string& before = "Runs that began before this day or moment");
  // Throws a usage error for a date that there is not.
  [[nodiscard]] reports::RunFilter filter() const;
  // Whether any of them was given.
  [[nodiscard]] bool given() const;

 private:
  reports::RunFilter filter_;
  std::string kind_;
  std::size_t last_ = 0;
};

// A day, or a moment with its zone, in UTC. Throws a usage error that names the option.
[[nodiscard]] std::string moment_of(const std::string& option, const std::string& text);

// "1 run", "3 runs".
[[nodiscard]] std::string runs_text(std::size_t count);

// A revision that is a hash, shortened as git does; any other as it is.
[[nodiscard]] std::string short_revision(const std::string& revision);

// Figures as a table and as JSON show them; nothing is "-" and null, what is not finite "not finite" and "inf".
[[nodiscard]] std::string figure_text(const std::optional<double>& value);
[[nodiscard]] nlohmann::ordered_json figure_json(const std::optional<double>& value);

// What runs are about, in the order in which it is first said: "llama-small cpu bf16", with the device where it has
// another name than the backend, and the split.
[[nodiscard]] std::string subject_of(const reports::StoredVerification& part);
[[nodiscard]] std::string subject_of(const BenchPoint& point);

// Throws store.missing for the first that the store does not have.
void require_runs(const reports::Store& store, const std::vector<reports::RunId>& ids);

[[nodiscard]] nlohmann::ordered_json head_json(const reports::RunHead& head);

}  // namespace mlbench::cli
