// What an HDF5 file holds, without the values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace mlbench::golden {

enum class ValueKind { real, integer, other };

using Attributes = std::map<std::string, std::string>;  // strings, and scalar numbers as text

struct DatasetInfo {
  std::string path;  // "/prefill/model.layers.0.mlp"
  Shape shape;
  ValueKind kind = ValueKind::other;
  std::uint64_t object = 0;  // equal for names of the same stored values (hard links)
  Attributes attributes;
};

struct GroupInfo {
  std::string path;
  Attributes attributes;
};

struct FileInfo {
  std::vector<DatasetInfo> datasets;  // by path
  std::vector<GroupInfo> groups;      // by path, without the root
  Attributes attributes;              // of the root
};

}  // namespace mlbench::golden
