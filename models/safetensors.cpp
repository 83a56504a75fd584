#include "models/safetensors.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "core/json.h"

namespace mlbench {
namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeader = 100'000'000;  // the format's own limit

struct StoredType {
  std::string_view name;
  std::size_t bytes;
};
constexpr StoredType kTypes[] = {{"F64", 8}, {"F32", 4}, {"F16", 2},     {"BF16", 2},    {"I64", 8},
                                 {"I32", 4}, {"I16", 2}, {"I8", 1},      {"U64", 8},     {"U32", 4},
                                 {"U16", 2}, {"U8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"BOOL", 1}};

class HeaderReader {
 public:
  HeaderReader(std::string where, std::size_t data_begin, std::size_t file_size)
      : where_(std::move(where)), data_begin_(data_begin), data_size_(file_size - data_begin) {}

  [[nodiscard]] SafetensorsEntry entry(const std::string& name, const nlohmann::json& value) const {
    if (!value.is_object()) throw bad(name, fmt::format("must be an object, is {}", shown(value)));
    SafetensorsEntry out;
    out.name = name;
    const std::size_t item_bytes = read_type(name, value, out);
    const std::size_t bytes = read_shape(name, value, item_bytes, out);
    const auto offsets = value.find("data_offsets");
    if (offsets == value.end() || !offsets->is_array() || offsets->size() != 2) {
      throw bad(name, "data_offsets must be a list of two numbers");
    }
    const auto begin = whole_number((*offsets)[0]);
    const auto end = whole_number((*offsets)[1]);
    if (!begin || !end || *begin > *end) throw bad(name, fmt::format("data_offsets {} are no range", shown(*offsets)));
    if (*end > data_size_) {
      throw request_error("checkpoint.truncated",
                          fmt::format("{}: tensor {} ends at byte {} of the data, which has {}: the file is truncated",
                                      where_, in_quotes(name), *end, data_size_));
    }
    if (*end - *begin != bytes) {
      throw bad(name, fmt::format("{} of shape {} takes {} bytes, data_offsets {} give {}", out.dtype,
                                  to_string(out.shape), bytes, shown(*offsets), *end - *begin));
    }
    out.begin = data_begin_ + static_cast<std::size_t>(*begin);
    out.end = data_begin_ + static_cast<std::size_t>(*end);
    return out;
  }

  void check_coverage(const std::vector<SafetensorsEntry>& entries) const {
    std::size_t covered = data_begin_;
    for (const SafetensorsEntry& entry : entries) {
      if (entry.begin < covered) throw bad(entry.name, "its bytes overlap another tensor's");
      if (entry.begin > covered)
        throw bad(entry.name, fmt::format("{} bytes before it belong to no tensor", entry.begin - covered));
      covered = entry.end;
    }
    const std::size_t end = data_begin_ + data_size_;
    if (covered != end) {
      throw request_error("checkpoint.format",
                          fmt::format("{}: the last {} bytes belong to no tensor", where_, end - covered));
    }
  }

 private:
  static std::optional<std::uint64_t> whole_number(const nlohmann::json& value) {
    if (!value.is_number_unsigned()) return std::nullopt;
    return value.get<std::uint64_t>();
  }

  [[nodiscard]] Error bad(const std::string& name, const std::string& what) const {
    return request_error("checkpoint.format", fmt::format("{}: tensor {}: {}", where_, in_quotes(name), what));
  }

  std::size_t read_type(const std::string& name, const nlohmann::json& value, SafetensorsEntry& out) const {
    const auto dtype = value.find("dtype");
    if (dtype == value.end() || !dtype->is_string()) throw bad(name, "dtype must be a string");
    out.dtype = dtype->get<std::string>();
    for (const StoredType& type : kTypes) {
      if (type.name == out.dtype) return type.bytes;
    }
    throw bad(name, fmt::format("unknown dtype {}", in_quotes(out.dtype)));
  }

  std::size_t read_shape(const std::string& name, const nlohmann::json& value, std::size_t item_bytes,
                         SafetensorsEntry& out) const {
    const auto shape = value.find("shape");
    if (shape == value.end() || !shape->is_array() || shape->size() > 16) {
      throw bad(name, "shape must be a list of at most 16 whole numbers");
    }
    std::uint64_t bytes = item_bytes;
    for (const nlohmann::json& item : *shape) {
      const auto dim = whole_number(item);
      if (!dim) throw bad(name, fmt::format("shape {} must hold whole numbers >= 0", shown(*shape)));
      if (*dim > static_cast<std::uint64_t>(std::numeric_limits<Index>::max()) ||
          __builtin_mul_overflow(bytes, *dim, &bytes)) {
        throw bad(name, fmt::format("shape {} is larger than any memory", shown(*shape)));
      }
      out.shape.push_back(static_cast<Index>(*dim));
    }
    return bytes;
  }

  std::string where_;
  std::size_t data_begin_;
  std::size_t data_size_;
};

}  // namespace

std::vector<SafetensorsEntry> parse_safetensors(std::span<const std::byte> file, const std::string& where) {
  if (file.size() < kLengthBytes) {
    throw request_error("checkpoint.truncated",
                        fmt::format("{}: {} bytes are too few for a safetensors file", where, file.size()));
  }
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) length |= std::to_integer<std::uint64_t>(file[i]) << (8 * i);
  if (length > kMaxHeader) {
    throw request_error("checkpoint.format", fmt::format("{}: header length {} exceeds {}: not a safetensors file",
                                                         where, length, kMaxHeader));
  }
  if (length > file.size() - kLengthBytes) {
    throw request_error("checkpoint.truncated", fmt::format("{}: header length {}, the file has {} bytes: truncated",
                                                            where, length, file.size()));
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
  const nlohmann::json header = parse_json(text, where + ": header", "checkpoint.format", "checkpoint.format");
  if (!header.is_object()) throw request_error("checkpoint.format", fmt::format("{}: header must be an object", where));

  const HeaderReader reader(where, kLengthBytes + static_cast<std::size_t>(length), file.size());
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name != "__metadata__") entries.push_back(reader.entry(name, value));
  }
  std::sort(entries.begin(), entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  reader.check_coverage(entries);
  return entries;
}

SafetensorsFile::SafetensorsFile(const std::string& file_path)
    : path(file_path), map(file_path), entries(parse_safetensors(map.bytes(), file_path)) {}

}  // namespace mlbench
