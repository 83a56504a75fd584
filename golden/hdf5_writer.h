// Writing one HDF5 file, in this process and from one thread. The same calls give the same bytes: nothing of time or
// place is stored. HDF5 1.8 and later can read it.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/tensor.h"
#include "golden/hdf5_disk.h"
#include "golden/hdf5_handle.h"
#include "golden/temporary_file.h"

namespace mlbench::golden {

class Hdf5Writer {
 public:
  // The file stands under a temporary name until finish(); destroyed before that, nothing is left of it. Throws
  // internal errors (file.unwritable: a full disk, ...) that name `path`, here and below; after one, only destroy it.
  explicit Hdf5Writer(const std::string& path);

  // `path` is absolute, as in all that follows, and its parent there. Groups keep the order in which links were made.
  void group(const std::string& path);

  // Compressed in chunks. A shape of rank 0 is a scalar.
  void dataset(const std::string& path, const Shape& shape, std::span<const double> values);
  void dataset(const std::string& path, const Shape& shape, std::span<const std::int64_t> values);

  // Of a group, a dataset or the root, "/". Text is UTF-8 of any length without NUL.
  void attribute(const std::string& object, const std::string& name, const std::string& text);
  void attribute(const std::string& object, const std::string& name, std::uint64_t value);

  // Completes the file and renames it into place.
  void finish();

 private:
  void write(const std::string& path, const Shape& shape, hid_t stored, hid_t in_memory, const void* values);
  void write_attribute(const std::string& object, const std::string& name, hid_t stored, hid_t in_memory,
                       const void* value);
  // Throws unless the library did what it was asked for, and all of it reached the disk so far.
  void require(bool ok, const std::string& doing) const;

  std::string path_;
  TemporaryFile beside_;
  DiskState disk_;
  FileHandle file_;
};

}  // namespace mlbench::golden
