// mlbench --explain CODE.
#pragma once

#include <optional>
#include <string>

#include <CLI/CLI.hpp>

namespace mlbench::cli {

// Declares the option of the program; `code` is what was asked for.
void add_explain_option(CLI::App& app, std::optional<std::string>& code);

// Prints what the code means and returns the exit code. Throws a usage error with near names where there is no such
// code.
int explain(const std::string& code);

}  // namespace mlbench::cli
