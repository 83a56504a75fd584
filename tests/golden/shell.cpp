#include "tests/golden/shell.h"

#include <sys/wait.h>

#include <cstdlib>

#include "tests/support/temp_dir.h"

namespace mlbench::test {

Outcome shell(const std::string& line) {
  const TempDir dir;
  const std::string command = line + " > " + (dir / "out") + " 2> " + (dir / "err") + " < /dev/null";
  const int status = std::system(command.c_str());  // NOLINT(bugprone-command-processor): as a user would
  const int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return {code, read_file(dir / "out"), read_file(dir / "err")};
}

std::string python_with_h5py() {
  for (const char* python : {"python3", "/usr/bin/python3"}) {
    if (shell(std::string(python) + " -c 'import h5py, numpy'").exit_code == 0) return python;
  }
  return "";
}

}  // namespace mlbench::test
