#include "harness/selftest/choice.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/near_names.h"

namespace mlbench::selftest {

Choice mistakes_named(const std::vector<std::string>& names) {
  std::vector<std::string> known;
  for (const MistakeInfo& mistake : mistakes()) known.emplace_back(mistake.name);
  for (const ParallelMistakeInfo& mistake : parallel_mistakes()) known.emplace_back(mistake.name);
  for (const std::string& name : names) {
    if (std::ranges::find(known, name) != known.end()) continue;
    throw request_error("usage", fmt::format("no mistake is called {}{}", in_quotes(name),
                                             near_names_hint(name, known, "mlbench selftest --list")));
  }
  const auto chosen = [&](const auto& mistake) {
    return names.empty() || std::ranges::find(names, mistake.name) != names.end();
  };
  Choice out;
  for (const MistakeInfo& mistake : mistakes()) {
    if (chosen(mistake)) out.mistakes.push_back(mistake.mistake);
  }
  for (const ParallelMistakeInfo& mistake : parallel_mistakes()) {
    if (chosen(mistake)) out.parallel.push_back(mistake.mistake);
  }
  return out;
}

}  // namespace mlbench::selftest
