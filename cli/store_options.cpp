#include "cli/store_options.h"

#include <cstdlib>
#include <ctime>
#include <filesystem>

#include <fmt/format.h>

#include "cli/command.h"
#include "core/error.h"
#include "harness/measure/environment.h"
#include "reports/store/contents.h"
#include "reports/store/times.h"

namespace mlbench::cli {
namespace {

namespace fs = std::filesystem;
using reports::Store;

// The first of the variables that is set and not empty.
std::string first_of(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return "";
}

bool is_none(const std::string& file) { return file == "none"; }

}  // namespace

void add_store_option(CLI::App& command, std::string& store) {
  command
      .add_option("--store", store,
                  "The history's file; default: $MLBENCH_STORE, else mlbench/history.db in the user's data folder")
      ->type_name("FILE");
}

Store open_store(const std::string& store, Store::Access access) {
  const fs::path file = store.empty() ? Store::default_file() : fs::path(store);
  if (file.empty() || is_none(file.string()))
    throw request_error("usage",
                        "--store: names no file, nor does the environment (MLBENCH_STORE, XDG_DATA_HOME, HOME)");
  return Store(file, access);
}

void RunMarks::add_to(CLI::App& command) {
  command.add_option("--revision", revision, "Revision of what is tested; default: what a CI system says");
  command.add_option("--branch", branch, "Its branch; default: what a CI system says");
  command.add_option("--label", label, "Anything to find the run by");
}

void StoreOptions::add_to(CLI::App& command) {
  CLI::Option* file =
      command
          .add_option(
              "--store", file_,
              "Keep the run in this file (mlbench history); default: $MLBENCH_STORE, else mlbench/history.db in "
              "the user's data folder")
          ->type_name("FILE");
  command.add_flag("--no-store", none_, "Do not keep the run")->excludes(file);
  marks_.add_to(command);
}

OwnRun::OwnRun(const StoreOptions& options) {
  named_ = !options.file_.empty() || !first_of({"MLBENCH_STORE"}).empty();
  const fs::path file = options.file_.empty() ? Store::default_file() : fs::path(options.file_);
  if (options.none_ || is_none(options.file_) || (file.empty() && std::getenv("MLBENCH_STORE") != nullptr)) return;
  try {
    if (file.empty())
      throw request_error("store.unusable", "neither XDG_DATA_HOME nor HOME says where the user's data are");
    std::error_code ignored;  // Store says what is wrong
    if (!named_) fs::create_directories(file.parent_path(), ignored);
    (void)Store(file, Store::Access::write);
  } catch (const Error& error) {
    if (named_) throw;
    fmt::print(stderr, "warning: {}; this run is not stored\n", one_line(error.what()));
    return;
  }
  file_ = file.string();
  environment_ = measure::capture_environment();
  head_.started = reports::utc_text(std::time(nullptr));
  head_.revision = !options.marks_.revision.empty() ? options.marks_.revision
                                                    : first_of({"GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT"});
  head_.branch = !options.marks_.branch.empty()
                     ? options.marks_.branch
                     : first_of({"GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "GIT_BRANCH"});
  head_.label = options.marks_.label;
  head_.host = environment_.fact("host");
  head_.processor = environment_.fact("cpu");
  head_.program = reports::program_of(environment_);
  head_.command = own_command_line();
}

int OwnRun::store(const std::string& document, int verdict, const std::string& started) const {
  if (file_.empty()) return verdict;
  try {
    reports::RunHead head = head_;
    if (!started.empty()) head.started = started;
    const reports::RunId id = Store(file_, Store::Access::write).add(head, document, environment_);
    fmt::print(stderr, "mlbench: stored as run {} in {}\n", id, one_line(file_));
    return verdict;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}; this run is not stored\n", named_ ? "mlbench" : "warning", one_line(error.what()));
  }
  return named_ && verdict == 0 ? exit_code(ErrorKind::internal) : verdict;
}

}  // namespace mlbench::cli
