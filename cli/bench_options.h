// What `mlbench bench` is asked to measure: the options, and the sweep that they make.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/backends.h"
#include "cli/command.h"
#include "cli/parallel_options.h"
#include "harness/measure/measure.h"
#include "harness/measure/sweep.h"

namespace mlbench::cli {

class SweepOptions {
 public:
  void add_to(CLI::App& command);

  // The sweep file's axes under those of the command line. Throws usage, sweep.format and file.* errors.
  [[nodiscard]] measure::Axes axes() const;
  // Of the command line, else of the sweep file.
  [[nodiscard]] std::vector<ModelOptions> models() const;

 private:
  ModelOptions model_;
  std::string file_;
  std::vector<std::string> dtypes_, methods_;
  measure::Axes axes_;
  ParallelOptions parallel_;
};

// Of a point whose sequences are longer than the model has positions for, the reason; else "".
[[nodiscard]] std::string why_too_long(const BenchPoint& point, const ModelConfig& config);

// A row of the sweep: a method at a point, or why there is none.
struct PlannedRow {
  std::size_t model = 0;   // index into the sweep's models
  std::size_t number = 0;  // of its point in the sweep
  BenchPoint point;
  backends::Method method{};
  std::string unsupported;
};

struct PlannedSweep {
  std::vector<ModelOptions> models;
  std::vector<ModelConfig> configs;  // of the models
  std::vector<PlannedRow> rows;      // those of one point follow each other
};

// Every row of the sweep, with what the backend and the model say against it.
[[nodiscard]] PlannedSweep plan_sweep(const SweepOptions& options, const backends::Backend& backend,
                                      const std::string& device, int threads);

// The points that are run, of the rows that can be and are not `done`; `model_of` says which model each has.
struct RunnablePoints {
  std::vector<measure::PointPlan> plans;
  std::vector<std::size_t> model_of;
};
[[nodiscard]] RunnablePoints runnable(const PlannedSweep& sweep, const std::vector<bool>& done);

// The points by what fits into memory at once: all of them, or those of one model, type and number of threads at a
// time. Throws memory.exceeded where one of these does not fit alone.
[[nodiscard]] std::vector<std::vector<std::size_t>> groups_of(const PlannedSweep& sweep, const RunnablePoints& points,
                                                              const backends::Backend& backend);

}  // namespace mlbench::cli
