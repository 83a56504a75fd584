// The commands that a qualification is made of, and itself (command.h has the others).
#pragma once

#include "cli/command.h"

namespace mlbench::cli {

void add_qualify_command(CLI::App& app, Action& action);
void add_siblings_command(CLI::App& app, Action& action);
void add_soak_command(CLI::App& app, Action& action);

}  // namespace mlbench::cli
