// Runs the program as a user does.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace mlbench::test {

struct Outcome {
  int exit_code = -1;  // 128 + the signal when one ended it
  std::string out;     // standard output
  std::string err;     // standard error
};

using Variables = std::vector<std::pair<std::string, std::string>>;

// The program with these arguments; standard input is empty. A shell sees none of them. Runs are not stored unless
// `variables`, which are set beside the test's own, say where.
[[nodiscard]] Outcome run_program(const std::vector<std::string>& args, const Variables& variables = {});

}  // namespace mlbench::test
