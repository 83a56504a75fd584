// Writes a golden of ours (own_layout.h), one tensor at a time: nothing is kept but names and digests. Destroyed before
// finish(), nothing is left of the file. The same content gives the same bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/tensor.h"
#include "golden/file_info.h"
#include "golden/hdf5_writer.h"
#include "golden/own_layout.h"
#include "models/taps.h"

namespace mlbench::golden {

class GoldenWriter {
 public:
  // All methods throw internal errors (file.unwritable) that name `path`.
  GoldenWriter(const std::string& path, const Manifest& manifest);

  // One step, the latest of its writer; the next one ends it.
  class Step {
   public:
    // In the layout of models/taps.h. Each tap once.
    void tap(TapId id, const Tensor<double>& values);
    // How far a backend may stray in each row of a tap.
    void limits(TapId id, std::span<const double> rows);

   private:
    friend GoldenWriter;
    Step(GoldenWriter& writer, std::string path) : writer_(writer), path_(std::move(path)) {}

    GoldenWriter& writer_;
    std::string path_;
    bool has_limits_ = false;
  };
  // Position and sequence of each row of the call.
  [[nodiscard]] Step step(const std::string& method, const std::string& label, std::span<const std::int64_t> positions,
                          std::span<const std::int64_t> sequence);

  // Completes the file and puts it in its place.
  void finish();

 private:
  void group(const std::string& path, const Attributes& attributes);
  template <class T>
  void dataset(const std::string& path, const Shape& shape, std::span<const T> values);

  Hdf5Writer file_;
  FileInfo written_;  // attributes only, for their digest
  Index steps_ = 0;
};

}  // namespace mlbench::golden
