// Memory that the program and a plug-in's process share, one of them to write and the other to read: what large inputs
// and results cross in.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace mlbench::plugin {

// A new one, empty, as a file that can only grow: nobody's mapping loses its ground. -1 with errno where there is none.
[[nodiscard]] int make_arena_file();

class Arena {
 public:
  enum class Use { write, read };
  // `fd` stays the caller's, who keeps it open.
  Arena(int fd, Use use) : fd_(fd), use_(use) {}
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // The pieces one behind the other, from the start. Throws memory.exceeded.
  void write(const std::vector<std::span<const std::byte>>& pieces, std::size_t size);
  // The first `size` bytes; throws Malformed where there are fewer.
  [[nodiscard]] std::span<const std::byte> read(std::size_t size);

 private:
  void map(std::size_t size);

  int fd_;
  Use use_;
  std::byte* data_ = nullptr;
  std::size_t mapped_ = 0;
};

}  // namespace mlbench::plugin
