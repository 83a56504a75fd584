// What an HDF5 file holds, without the values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace mlbench::golden {

enum class ValueKind { real, integer, other };

struct DatasetInfo {
  std::string path;  // "/prefill/model.layers.0.mlp"
  Shape shape;
  ValueKind kind = ValueKind::other;
  std::uint64_t object = 0;  // equal for names of the same stored values (hard links)
};

struct FileInfo {
  std::vector<DatasetInfo> datasets;              // by path
  std::map<std::string, std::string> attributes;  // of the root; strings, and scalar numbers as text
};

}  // namespace mlbench::golden
