// A golden file that nobody vouches for, read at a distance: a child process of its own opens it with the HDF5 library
// and hands over what is asked for. Whatever a file does to the library (crash, loop, memory), here it is an error that
// names the file.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/tensor.h"
#include "golden/file_info.h"

namespace mlbench::golden {

class GoldenFile {
 public:
  // Starts the reader and lists the file. Throws request errors: file.missing, file.not_a_file, golden.corrupt.
  explicit GoldenFile(const std::string& path);
  ~GoldenFile();
  GoldenFile(const GoldenFile&) = delete;
  GoldenFile& operator=(const GoldenFile&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const FileInfo& info() const { return info_; }
  [[nodiscard]] const DatasetInfo* find(const std::string& dataset) const;
  [[nodiscard]] std::optional<std::string> attribute(const std::string& name) const;

  // The values of a dataset of info(); golden.format where it is not numeric.
  [[nodiscard]] Tensor<double> read(const DatasetInfo& dataset);
  [[nodiscard]] Tensor<std::int64_t> read_integers(const DatasetInfo& dataset);
  // Bytes that a numeric dataset's values take in the file: after compression. 0 for any other.
  [[nodiscard]] std::uint64_t stored_bytes(const DatasetInfo& dataset);

 private:
  class Child;
  template <class T>
  Tensor<T> read_as(char request, const DatasetInfo& dataset, ValueKind kind);

  std::string path_;
  std::unique_ptr<Child> child_;
  FileInfo info_;
};

}  // namespace mlbench::golden
