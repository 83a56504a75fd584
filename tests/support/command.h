// Runs the program as a user does.
#pragma once

#include <string>
#include <vector>

namespace mlbench::test {

struct Outcome {
  int exit_code = -1;  // 128 + the signal when one ended it
  std::string out;     // standard output
  std::string err;     // standard error
};

// The program with these arguments; standard input is empty. A shell sees none of them.
[[nodiscard]] Outcome run_program(const std::vector<std::string>& args);

}  // namespace mlbench::test
