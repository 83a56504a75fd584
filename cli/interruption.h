// Ctrl-C and the like: the first time, what is running comes to an orderly end; the next time, the program does.
#pragma once

namespace mlbench::cli {

// From now on, SIGINT and SIGTERM are noted.
void note_interruptions();
[[nodiscard]] bool interrupted();

// The exit code of a run that was interrupted and whose results so far are kept.
inline constexpr int kInterrupted = 130;

}  // namespace mlbench::cli
