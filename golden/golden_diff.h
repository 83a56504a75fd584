// Two goldens of any layout, dataset by dataset.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "golden/golden_file.h"

namespace mlbench::golden {

// In the order of a report: what is worst last.
enum class Difference {
  none,    // equal bit for bit
  within,  // not bit for bit, and within the limit
  values,  // beyond the limit
  kind,    // not numbers of one kind: integers in one of the two, a link, text
  shape,
  only_a,
  only_b,
};
[[nodiscard]] std::string_view name(Difference difference);

struct DatasetDiff {
  std::string path;
  Difference difference = Difference::none;
  Shape shape_a, shape_b;                 // empty for the one that has no such dataset
  double max_difference = 0.0;            // infinity where only one of two values is finite, or they are different NaNs
  double max_a = 0.0;                     // largest finite |value| of A
  [[nodiscard]] double relative() const;  // max_difference / max_a; absolute where A is all zero
};

struct AttributeDiff {
  std::string object;  // "/" for the root
  std::string name;
  std::optional<std::string> a, b;
};

struct GoldenDiff {
  std::vector<DatasetDiff> datasets;      // worst first
  std::vector<AttributeDiff> attributes;  // without digests, which follow from values

  [[nodiscard]] std::size_t count(Difference difference) const;
  // Whether all datasets are: attributes tell where values come from, not what they are.
  [[nodiscard]] bool equal() const;
};

// Floating-point values may differ by rtol * max|A|, with no `rtol` by not a bit; integers, which are inputs, never.
// Throws what GoldenFile does. Holds two datasets at a time.
[[nodiscard]] GoldenDiff diff_goldens(GoldenFile& a, GoldenFile& b, std::optional<double> rtol);

}  // namespace mlbench::golden
