// Another program, run to its end.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace mlbench {

struct ChildOptions {
  std::string log;            // its standard output and error are appended to this file; empty: kept in the outcome
  double time_limit_s = 0.0;  // then it is ended; 0: no limit
  std::function<bool()>
      stop;  // asked now and then: true: it is to end (SIGINT, some time to do so, SIGKILL); null: never
  double patience_s = 60.0;  // between the two
};

struct ChildOutcome {
  int exit_code = -1;  // 128 + the signal that ended it; -1: that is not known, `fail` says why
  bool timed_out = false, stopped = false;
  std::string out, err;  // the first 4 MiB of what it printed on standard output and error, where there is no log
  std::string fail;      // why it could not be started or awaited; empty: it was
};

// `words`: the program, looked for on PATH where its name has no slash, and its arguments. Its standard input is empty.
// It is the leader of a process group of its own: what a terminal sends to this process does not reach it, and what it
// has started ends with it.
[[nodiscard]] ChildOutcome run_child(const std::vector<std::string>& words, const ChildOptions& options = {});

}  // namespace mlbench
