// Options that choose what is run.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "harness/cases.h"
#include "harness/plan.h"

namespace mlbench::cli {

class PlanOptions {
 public:
  void add_to(CLI::App& command);

  // Throws usage errors for what contradicts itself or is not known.
  [[nodiscard]] harness::Plan plan(const ModelConfig& config) const;
  // What of a plan that comes from elsewhere, or of a run's cases, is asked for.
  [[nodiscard]] harness::Plan narrowed(harness::Plan plan) const;
  [[nodiscard]] std::vector<harness::VerifyCase> narrowed(std::vector<harness::VerifyCase> cases) const;
  // The whole plan, before it is narrowed.
  [[nodiscard]] harness::Plan whole(const ModelConfig& config) const;
  [[nodiscard]] bool narrows() const { return !methods_.empty() || !call_.empty(); }
  // The options again, without --call.
  [[nodiscard]] std::string command_line() const;

 private:
  template <class What>
  [[nodiscard]] What narrow(What what) const;

  std::vector<std::string> methods_;
  std::vector<Index> prompts_;
  std::string call_;
  bool quick_ = false, full_ = false;
};

// "f32,bf16" as given in parts; usage errors for what is no type.
[[nodiscard]] DType require_dtype(const std::string& text);

}  // namespace mlbench::cli
