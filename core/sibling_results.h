// Devices of one kind beside each other. harness/qualify fills this, reports/ renders it.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace mlbench {

// A figure that lies apart from those of the siblings.
struct Outlier {
  std::string sibling;
  double value = 0.0;
  double share = 0.0;       // value / median - 1: below 0 is slower
  double deviations = 0.0;  // |value - median| in scaled median absolute deviations; infinite where that is 0
};

// One figure of every sibling: more is better.
struct SiblingFigure {
  std::string name, unit;                     // "f32 products", "FLOP/s"
  std::vector<std::optional<double>> values;  // in the order of the siblings; nothing where it could not be measured
  double median = 0.0, deviation = 0.0;       // the scaled median absolute deviation
  std::vector<Outlier> outliers;
};

struct SiblingResults {
  std::string command;
  std::string backend, kind;          // "devices", "processors": threads of the machine's processor
  std::vector<std::string> siblings;  // "cuda:0", "cpu 3"
  std::vector<SiblingFigure> figures;
  bool judged = true;               // an outlier fails the run
  bool enough = false;              // there are so many that one can be told from the others
  std::string meaning;              // what a difference between them tells, and what it does not
  std::vector<std::string> failed;  // "cuda:1: what its measurement said"
  bool interrupted = false;

  // Whether nothing stands against it: no sibling that failed, and where they are judged no outlier.
  [[nodiscard]] bool passed() const;
  [[nodiscard]] bool any_outlier() const;
};

}  // namespace mlbench
