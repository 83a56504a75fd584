// mlbench bench --predict: what a split model would reach on a cluster that a file describes.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/bench_options.h"

namespace mlbench::cli {

class PredictCommand {
 public:
  void add_to(CLI::App& command);

  [[nodiscard]] bool asked() const { return asked_; }
  // Throws a usage error for an option of `command` that says how something is run: nothing is.
  void refuse_others(const CLI::App& command) const;
  // Predicts and writes: JSON to `json` (a file, "-" for standard output, or "" for nowhere), the table unless that is
  // standard output. Returns the exit code.
  [[nodiscard]] int run(const SweepOptions& sweep, const std::string& json, bool color) const;

 private:
  bool asked_ = false;
  std::string cluster_;
  Index micro_batches_ = 0;
};

}  // namespace mlbench::cli
