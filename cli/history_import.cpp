// mlbench history import: results that are in files.
#include <sys/stat.h>

#include <memory>

#include <fmt/format.h>

#include "cli/history.h"
#include "cli/store_options.h"
#include "core/error.h"
#include "core/file_map.h"
#include "reports/store/times.h"

namespace mlbench::cli {
namespace {

using reports::Store;

struct Options {
  std::string store, started;
  RunMarks marks;
  std::vector<std::string> files;
};

constexpr std::size_t kLargestFile = std::size_t{1} << 30U;

// When the file was written.
std::string written(const std::string& file) {
  struct stat status {};
  return ::stat(file.c_str(), &status) == 0 ? reports::utc_text(status.st_mtime) : "";
}

Store::Imported import_file(Store& store, const Options& options, const std::string& file) {
  const std::string document = read_text_file(file, kLargestFile);
  reports::RunHead head;
  head.revision = options.marks.revision;
  head.branch = options.marks.branch;
  head.label = options.marks.label;
  head.started = options.started;
  return store.import(head, document, file, written(file));
}

int import_files(Options options) {
  if (!options.started.empty()) options.started = moment_of("--started", options.started);
  Store store = open_store(options.store, Store::Access::write);
  int code = 0;
  for (const std::string& file : options.files) {
    try {
      const Store::Imported run = import_file(store, options, file);
      print(fmt::format("{}: {} run {}\n", one_line(file), run.known ? "known already as" : "stored as", run.id));
    } catch (const Error& error) {
      if (error.code().starts_with("store.")) throw;
      fmt::print(stderr, "mlbench: {}\n", one_line(error.what()));
      code = exit_code(error.kind());
    }
  }
  return code;
}

}  // namespace

void add_history_import(CLI::App& history, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = history.add_subcommand(
      "import",
      "Take in results of mlbench verify and bench (--json), Google Benchmark (JSON), llama-bench (JSON, JSONL)");
  add_store_option(*command, options->store);
  command->add_option("FILE", options->files, "Results, a run each")->required();
  command->add_option("--revision", options->marks.revision, "Revision of what was tested");
  command->add_option("--branch", options->marks.branch, "Its branch");
  command->add_option("--label", options->marks.label, "Anything to find the runs by");
  command
      ->add_option("--started", options->started,
                   "When they began; default: what stands in the file, else when it was written")
      ->type_name("DATE");
  command->footer(
      "A file is taken whole or not at all. One that is known already, with nothing new said of it, is not kept "
      "twice.\n"
      "Exit codes: 0 all are in the history, 2 a file is no result; the others are taken.\n"
      "Example: mlbench history import nightly/*.json --branch main");
  command->callback([options, &action] { action = [options] { return import_files(*options); }; });
}

}  // namespace mlbench::cli
