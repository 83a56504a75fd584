// What a machine showed of itself while something ran on it, sampled again and again: clocks, temperatures, counters of
// throttling and of memory errors.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace mlbench {

// One figure at one time.
struct Reading {
  std::string name;      // "temperature"
  std::string unit;      // "C", "MHz", "W", "MiB"; "" for counts
  bool counter = false;  // counts events since some beginning: what matters is by how much it grew
  double value = 0.0;
};

struct TelemetrySeries {
  std::string name, unit;
  bool counter = false;
  std::vector<std::optional<double>> values;  // at the times of Telemetry; nothing where it was not told
  // Of all samples, those that `values` were thinned out of included.
  double least = 0.0, most = 0.0, mean = 0.0;
  double first = 0.0, last = 0.0;
};

struct Telemetry {
  std::vector<std::string> sources;  // "/proc and /sys", "nvidia-smi"
  std::vector<double> seconds;       // of each sample, since the beginning
  std::vector<TelemetrySeries> series;
  std::vector<std::string> not_known;  // names of what was looked for and is not told here
  std::vector<std::string> warnings;   // "heat slowed the processor down: 12 more core throttles"
};

}  // namespace mlbench
