// A summary for a pull request, in GitHub's Markdown.
#pragma once

#include <span>
#include <string>

#include "core/results.h"

namespace mlbench::reports {

// The verdict, a table with a row for each run, then what is to be said of those that did not pass: reasons, failures
// by cause, the first failure and the command that runs it again. Text from outside cannot act as markup.
[[nodiscard]] std::string to_markdown(std::span<const BackendVerification> results);

}  // namespace mlbench::reports
