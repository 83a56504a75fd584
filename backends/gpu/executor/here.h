// A place in a source, for messages: what std::source_location would be if all compilers in use had it.
#pragma once

#include <cstring>

namespace mlbench::gpu::executor {

struct Here {
  const char* file = "";
  const char* function = "";
  int line = 0;

  // As a defaulted argument: the caller's place.
  [[nodiscard]] static constexpr Here current(const char* file = __builtin_FILE(),
                                              const char* function = __builtin_FUNCTION(),
                                              int line = __builtin_LINE()) {
    return {file, function, line};
  }

  friend bool operator==(const Here& a, const Here& b) {
    return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
  }
};

}  // namespace mlbench::gpu::executor
