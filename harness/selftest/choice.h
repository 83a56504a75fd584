// Mistakes by the names that people type.
#pragma once

#include <string>
#include <vector>

#include "harness/selftest/mistakes.h"
#include "harness/selftest/parallel_mistakes.h"

namespace mlbench::selftest {

struct Choice {
  std::vector<Mistake> mistakes;
  std::vector<ParallelMistake> parallel;
};

// Those of these names, in the tables' order; all for none. An unknown name is a usage error that lists near ones.
[[nodiscard]] Choice mistakes_named(const std::vector<std::string>& names);

}  // namespace mlbench::selftest
