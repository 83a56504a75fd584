// What the program is and what it was built with.
#pragma once

#include <string>

namespace mlbench::cli {

// Several lines: the program's version, then compiler and libraries with theirs.
[[nodiscard]] std::string version_text();
[[nodiscard]] std::string program_version();  // "0.1.0"

}  // namespace mlbench::cli
