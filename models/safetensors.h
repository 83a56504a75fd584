// The safetensors file format: an 8-byte little-endian header length, a JSON header, the tensors' bytes.
// A file is a trust boundary: nothing in it is believed before it is checked.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "core/file_map.h"
#include "core/tensor.h"

namespace mlbench {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // as in the file: "F32", "BF16", ...
  Shape shape;
  std::size_t begin = 0;  // of its bytes, from the start of the file
  std::size_t end = 0;
};

// Reads and checks the header of a file whose bytes are `file`; entries come in the order of their offsets. Checked:
// the header's length against the file's, JSON without repeated names, known types, shapes whose size does not overflow
// and equals the bytes claimed, ranges that lie inside the file, neither overlap nor leave gaps, and end where the file
// ends. Throws request errors with code checkpoint.format (or checkpoint.truncated) whose message starts with `where`.
[[nodiscard]] std::vector<SafetensorsEntry> parse_safetensors(std::span<const std::byte> file,
                                                              const std::string& where);

// A mapped file and its entries.
struct SafetensorsFile {
  explicit SafetensorsFile(const std::string& path);
  std::string path;
  FileMap map;
  std::vector<SafetensorsEntry> entries;
};

}  // namespace mlbench
