// Reading one HDF5 file, in this process. The library is not safe against hostile files: golden_file.h keeps it at
// a distance.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "golden/file_info.h"
#include "golden/hdf5_handle.h"

namespace mlbench::golden {

class Hdf5Reader {
 public:
  // Opens `path`. Throws request errors golden.corrupt ("truncated", "not HDF5", ...) that name it, here and below.
  explicit Hdf5Reader(const std::string& path);

  // Every dataset, its shape checked against what a file of this size can hold. Links out of the file, virtual and
  // external storage are not followed.
  [[nodiscard]] FileInfo info() const;

  // Bytes that a dataset's values take in the file: after compression.
  [[nodiscard]] std::uint64_t stored_bytes(const std::string& dataset) const;

  // All values of a numeric dataset, converted. `out` must have its size.
  void read(const std::string& dataset, std::vector<double>& out) const;
  void read(const std::string& dataset, std::vector<std::int64_t>& out) const;

 private:
  std::string path_;
  std::uint64_t file_bytes_ = 0;
  FileHandle file_;
};

}  // namespace mlbench::golden
