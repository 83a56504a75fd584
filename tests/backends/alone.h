// A group for tests of what fails.
#pragma once

#include <cstddef>
#include <span>

#include "backends/group.h"
#include "core/error.h"

namespace mlbench::test {

// Meets nobody.
class Alone final : public backends::Group {
 public:
  void all_reduce(std::span<float> /*values*/) override { fail(); }
  void send_on(std::span<const std::byte> /*bytes*/) override { fail(); }
  void receive(std::span<std::byte> /*bytes*/) override { fail(); }

 private:
  [[noreturn]] static void fail() { throw Error(ErrorKind::internal, "parallel.stopped", "nobody came"); }
};

}  // namespace mlbench::test
