// The axes of a sweep and the points that they make; what a sweep file holds.
#pragma once

#include <string>
#include <vector>

#include "backends/backend.h"
#include "core/bench_results.h"

namespace mlbench::measure {

// A list for each axis; an empty one is left to the default.
struct Axes {
  std::vector<DType> dtypes;
  std::vector<int> threads;
  std::vector<Index> batch, prompt, gen, depth, page_size, tensor_parallel, pipeline_parallel;
  std::vector<Index> disaggregated;  // 0, 1: prefill and decode together, apart
  std::vector<Index> replicas;
  std::vector<backends::Method> methods;

  // What stands in `other` replaces what stands here.
  void override_by(const Axes& other);
};

// A model of a sweep file, in the words of the command line: one of the three is given.
struct SweptModel {
  std::string arch, preset, folder;
};

struct Sweep {
  std::vector<SweptModel> models;  // empty: named on the command line
  Axes axes;
};

// Reads a file such as bench/sweeps/smoke.json. Throws sweep.format (a request error).
[[nodiscard]] Sweep read_sweep(const std::string& text, const std::string& where);

// Every combination, the last axes varying fastest, with model, architecture, backend and device as `fixed` has them.
// Empty axes take the defaults: f32, `threads`, batch 1, prompt 512, gen 64, depth 0, page size 16, no parallelism.
[[nodiscard]] std::vector<BenchPoint> points_of(const Axes& axes, const BenchPoint& fixed, int threads);

// The methods that are timed at a point: those asked for, prompts first, or by default prefill and decode, in their
// batched form where there are several sequences.
[[nodiscard]] std::vector<backends::Method> methods_of(const Axes& axes, const BenchPoint& point);

}  // namespace mlbench::measure
