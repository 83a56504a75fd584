#include "cli/parallel_options.h"

namespace mlbench::cli {

void ParallelOptions::add_to(CLI::App& command) {
  constexpr Index kMost = 65536;
  add_numbers(command, "--tp", tensor_parallel, 1, kMost, "Tensor-parallel shards; default 1");
  add_numbers(command, "--pp", pipeline_parallel, 1, kMost, "Pipeline stages; default 1");
  command.add_flag("--disagg", disaggregated, std::string(kDisaggHelp) + "; each row stands beside that without");
  add_numbers(command, "--replicas", replicas, 1, kMost,
              "Models side by side, each of so many ranks, with --batch sequences of its own; default 1");
}

}  // namespace mlbench::cli
