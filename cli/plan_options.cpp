#include "cli/plan_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/near_names.h"

namespace mlbench::cli {
namespace {

using backends::Method;

Method require_method(const std::string& text) {
  if (const auto method = backends::parse_method(text)) return *method;
  std::vector<std::string> known;
  for (int i = 0; i < backends::kNumMethods; ++i) known.emplace_back(name(static_cast<Method>(i)));
  throw request_error("usage", fmt::format("--method {}: no such method{}", in_quotes(text),
                                           near_names_hint(text, known, "mlbench list methods")));
}

}  // namespace

void PlanOptions::add_to(CLI::App& command) {
  command.add_option("--method", methods_, "Only these methods, and what leads to them, separated by commas")
      ->delimiter(',')
      ->type_name("METHOD");
  command.add_option("--prompt", prompts_, "Prompt lengths in place of the plan's own, separated by commas")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 24))
      ->type_name("LENGTH");
  command.add_option("--call", call_, "Only this call, by its label, and what leads to it")->type_name("LABEL");
  auto* quick = command.add_flag("--quick", quick_, "Some 160 rows, every method: what is done without --full");
  command.add_flag("--full", full_, "Longer prompts, other page sizes, past the borders of RoPE scaling")
      ->excludes(quick);
}

harness::Plan PlanOptions::whole(const ModelConfig& config) const {
  return harness::make_plan(config, full_ ? harness::Extent::full : harness::Extent::quick, 1, prompts_);
}

harness::Plan PlanOptions::plan(const ModelConfig& config) const { return narrowed(whole(config)); }

template <class What>
What PlanOptions::narrow(What what) const {
  std::vector<Method> methods;
  for (const std::string& text : methods_) methods.push_back(require_method(text));
  if (!methods.empty()) what = harness::with_methods(what, methods);
  return call_.empty() ? what : harness::up_to_call(what, call_);
}

harness::Plan PlanOptions::narrowed(harness::Plan plan) const { return narrow(std::move(plan)); }

std::vector<harness::VerifyCase> PlanOptions::narrowed(std::vector<harness::VerifyCase> cases) const {
  return narrow(std::move(cases));
}

std::string PlanOptions::command_line() const {
  std::string out = full_ ? " --full" : "";
  if (!prompts_.empty()) out += fmt::format(" --prompt {}", fmt::join(prompts_, ","));
  return out;
}

DType require_dtype(const std::string& text) {
  if (const auto dtype = parse_dtype(text)) return *dtype;
  throw request_error("usage", fmt::format("--dtype {}: must be f64, f32, bf16 or f16", in_quotes(text)));
}

}  // namespace mlbench::cli
