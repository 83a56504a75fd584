// The process that runs points for another mlbench (harness/measure/worker.h).
#pragma once

#include <string>
#include <vector>

#include "cli/bench_options.h"

namespace mlbench::cli {

// The command that makes `program` run these points.
[[nodiscard]] std::vector<std::string> worker_command(const std::string& program, const std::string& backend,
                                                      const PluginOptions& plugin, const PlannedSweep& sweep,
                                                      const RunnablePoints& points);

}  // namespace mlbench::cli
