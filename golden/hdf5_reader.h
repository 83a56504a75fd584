// Reading one HDF5 file, in this process. The library is not safe against hostile files: reader_process.h keeps it at a
// distance.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "golden/hdf5_handle.h"

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

class Hdf5Reader {
 public:
  // Opens `path`. Throws request errors golden.corrupt ("truncated", "not HDF5", ...) that name it, here and below.
  explicit Hdf5Reader(const std::string& path);

  // Every dataset, its shape checked against what a file of this size can hold. Links out of the file, virtual and
  // external storage are not followed.
  [[nodiscard]] FileInfo info() const;

  // All values of a numeric dataset, converted. `out` must have its size.
  void read(const std::string& dataset, std::vector<double>& out) const;
  void read(const std::string& dataset, std::vector<std::int64_t>& out) const;

 private:
  std::string path_;
  std::uint64_t file_bytes_ = 0;
  FileHandle file_;
};

}  // namespace mlbench::golden
