// Options that choose what is run.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "harness/plan.h"

namespace mlbench::cli {

class PlanOptions {
 public:
  void add_to(CLI::App& command);

  // Throws usage errors for what contradicts itself or is not known.
  [[nodiscard]] harness::Plan plan(const ModelConfig& config) const;
  // What of a plan that comes from elsewhere is asked for.
  [[nodiscard]] harness::Plan narrowed(harness::Plan plan) const;
  // The options again, without --call.
  [[nodiscard]] std::string command_line() const;

 private:
  std::vector<std::string> methods_;
  std::vector<Index> prompts_;
  std::string call_;
  bool quick_ = false, full_ = false;
};

// "f32,bf16" as given in parts; usage errors for what is no type.
[[nodiscard]] DType require_dtype(const std::string& text);

}  // namespace mlbench::cli
