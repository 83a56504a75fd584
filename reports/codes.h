// What every code means that an error, a warning or a finding may carry: mlbench --explain CODE, docs/errors.md.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace mlbench::reports {

struct Code {
  std::string_view code;    // "kv.full"
  std::string_view exit;    // "2", "2 or 4"; "none" for a warning
  std::string_view means;   // one sentence, as the next two
  std::string_view occurs;  // when
  std::string_view remedy;  // what to do
};

[[nodiscard]] std::span<const Code> codes();

// Several lines about one. Throws a usage error with near names for a code that there is not.
[[nodiscard]] std::string explanation(const std::string& code);

}  // namespace mlbench::reports
