// What a mistyped name may have been meant to be.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mlbench {

// The end of a one-line message about the unknown name `given`: "; near: A, B" with the known names that are a few
// edits away or contain it, else "; see: COMMAND".
[[nodiscard]] std::string near_names_hint(std::string_view given, const std::vector<std::string>& known,
                                          std::string_view command);

}  // namespace mlbench
