// A backend whose models --tp, --pp, --disagg and --replicas spread over ranks.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "backends/parallel/ranks.h"
#include "cli/backends.h"
#include "core/results.h"
#include "models/parts.h"

namespace mlbench::cli {

// Of a command that runs one split.
struct SplitOptions {
  Split split;
  Index micro_batches = 0;  // 0: as many as stages
  bool disaggregated = false;
  Index replicas = 1;

  void add_to(CLI::App& command);
  // The split, under which nothing else is said.
  [[nodiscard]] backends::RunConfig run() const;
  // What differs from the defaults, for a shell.
  [[nodiscard]] std::string command_line() const;
};

// A backend, and the ranks that hold what of its models is split: those that a launcher gave, or started when they are
// first needed.
class SplitBackend {
 public:
  // Throws what make_backend() throws.
  SplitBackend(const std::string& name, const std::string& device, const PluginOptions& plugin);

  [[nodiscard]] backends::Backend& get() { return *parallel_; }
  // Throws ErrorKind::unavailable, parallel.no_ranks, where ranks cannot be started, and a request error,
  // parallel.too_few_ranks, where the launcher gave fewer than the run takes.
  void require(const backends::RunConfig& run) const;
  // Whether a run's workers are ranks: one alone is only where a launcher gave some.
  [[nodiscard]] bool on_ranks(const backends::RunConfig& run) const {
    return parallel::workers_of(run) > 1 || given_.has_value();
  }
  // The ranks of a run; starts them.
  [[nodiscard]] parallel::Ranks& ranks(const backends::RunConfig& run);
  // Of so many on a machine, those for each of the ranks that share it.
  [[nodiscard]] int threads_of_rank(const backends::RunConfig& run, int threads);
  // For reports.
  [[nodiscard]] SplitDescription description(const SplitOptions& options);

 private:
  std::string name_;
  double time_limit_s_;
  std::optional<parallel::GivenRank> given_;
  parallel::Launcher launcher_;
  std::unique_ptr<backends::Backend> one_;
  std::map<Index, std::unique_ptr<parallel::Ranks>> ranks_;  // by their number
  std::unique_ptr<backends::Backend> parallel_;
};

// Throws the rule's error (models/parallel_rules.h) where the model cannot be split so, or its prompts not be computed
// apart.
void require_split(const ModelConfig& config, const backends::RunConfig& run, const std::string& model);

// Where a launcher started this process as another than its first: becomes a rank, and does not return.
void become_rank_if_given();

}  // namespace mlbench::cli
