// A whole file, mapped read-only.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace mlbench {

class FileMap {
 public:
  // Maps `path`. Throws a request error (file.missing, file.not_a_file, file.unreadable) that names it.
  explicit FileMap(const std::string& path);
  ~FileMap();
  FileMap(FileMap&& other) noexcept;
  FileMap& operator=(FileMap&& other) noexcept;
  FileMap(const FileMap&) = delete;
  FileMap& operator=(const FileMap&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

// Reads a text file of at most `limit` bytes. Same errors; a longer file is file.too_large.
[[nodiscard]] std::string read_text_file(const std::string& path, std::size_t limit);

// Throws file.missing or file.not_a_file unless `path` is a regular file.
void require_regular_file(const std::string& path);

// Writes `text` beside `path` and renames it into place: there is the old file or the whole new one, never a part.
// Throws an internal error (file.unwritable) and leaves nothing behind when it cannot.
void write_file_whole(const std::string& path, const std::string& text);

// Throws the same error where write_file_whole could not even begin: to be asked before long work.
void require_writable(const std::string& path);

}  // namespace mlbench
