// MLBENCH_INCLUDE_FILE(symbol, path): the assembler copies the file in; `symbol` is its first byte, `symbol_end` a 0
// behind its last. CMake gives the paths, and must compile the source again when the file changes (OBJECT_DEPENDS).
#pragma once

#include <cstddef>
#include <string_view>

// NOLINTBEGIN(bugprone-macro-parentheses): a name that is declared stands without
#define MLBENCH_INCLUDE_FILE(symbol, path)                                                         \
  asm(".pushsection .rodata\n"                                                                     \
      ".global " #symbol "\n.global " #symbol "_end\n" #symbol ":\n.incbin \"" path "\"\n" #symbol \
      "_end:\n.byte 0\n"                                                                           \
      ".popsection\n");                                                                            \
  extern "C" const char symbol[], symbol##_end[]
// NOLINTEND(bugprone-macro-parentheses)

namespace mlbench::reports::assets {

inline std::string_view between(const char* begin, const char* end) {
  return {begin, static_cast<std::size_t>(end - begin)};
}

}  // namespace mlbench::reports::assets
