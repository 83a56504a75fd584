// Other programs that read goldens, where they are installed.
#pragma once

#include <string>

#include "tests/support/command.h"

namespace mlbench::test {

// A command line of the shell.
[[nodiscard]] Outcome shell(const std::string& line);

// The Python that has h5py and numpy; empty where none has. (Debian's package is python3-h5py; nothing needs it.)
[[nodiscard]] std::string python_with_h5py();

}  // namespace mlbench::test
