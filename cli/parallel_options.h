// --tp, --pp, --disagg and --replicas, the same wherever a model is split. Whether a split is legal,
// models/parallel_rules.h says.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "core/tensor.h"

namespace mlbench::cli {

inline constexpr const char* kDisaggHelp =
    "Prefill and decode apart: the model is held twice, by as many ranks each; one instance computes prompts but for "
    "their last token and sends what it cached to the other, which decodes";

// Each list of numbers separated by commas; what is asked for is their product. Empty: not given.
struct ParallelOptions {
  std::vector<Index> tensor_parallel, pipeline_parallel, replicas;
  bool disaggregated = false;  // and as well not

  void add_to(CLI::App& command);
};

// An option of whole numbers from `least` to `most`, separated by commas.
template <class T>
CLI::Option* add_numbers(CLI::App& command, const char* name, std::vector<T>& values, Index least, Index most,
                         const std::string& what) {
  return command.add_option(name, values, what)->delimiter(',')->check(CLI::Range(least, most))->type_name("N");
}

}  // namespace mlbench::cli
