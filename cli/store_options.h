// Where runs are kept: the options of the commands that store their own, and of those that read the history.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "core/bench_results.h"
#include "reports/store/store.h"

namespace mlbench::cli {

// The file that --store names, or else Store::default_file(). Throws a usage error where there is none.
void add_store_option(CLI::App& command, std::string& store);
[[nodiscard]] reports::Store open_store(const std::string& store, reports::Store::Access access);

// What a user says of a run, or a CI system by its variables.
struct RunMarks {
  std::string revision, branch, label;

  void add_to(CLI::App& command);
};

class StoreOptions {
 public:
  void add_to(CLI::App& command);

 private:
  friend class OwnRun;
  std::string file_;
  bool none_ = false;
  RunMarks marks_;
};

// The run of this process, from before it begins.
class OwnRun {
 public:
  // Opens the store, so that what is wrong with it is said before the work. Throws where it was named; the one in the
  // user's data folder is done without, with a warning.
  explicit OwnRun(const StoreOptions& options);

  // Stores what --json would write, and says so on standard error. Returns the exit code: that of the verdict, or 4
  // where it passes and could not be kept in a store that was named. `started`: as the document says, where it does.
  [[nodiscard]] int store(const std::string& document, int verdict, const std::string& started = "") const;

 private:
  std::string file_;  // empty: not stored
  bool named_ = false;
  reports::RunHead head_;
  Environment environment_;
};

}  // namespace mlbench::cli
