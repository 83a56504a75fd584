// mlbench report: the dashboard of the history.
#include <chrono>
#include <filesystem>
#include <memory>
#include <set>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/history.h"
#include "cli/store_options.h"
#include "cli/version.h"
#include "core/error.h"
#include "core/file_map.h"
#include "reports/dashboard/data.h"
#include "reports/dashboard/page.h"
#include "reports/store/store.h"

namespace mlbench::cli {
namespace {

namespace fs = std::filesystem;
namespace dashboard = reports::dashboard;

constexpr std::size_t kLargestIndex = std::size_t{1} << 24U;  // of ours; in a larger one there is no need to look

struct Options {
  std::string store;
  std::string folder, single_file;
  std::string title;
  RunFilterOptions filter;
};

dashboard::History read(const reports::Store& store, const reports::RunFilter& filter) {
  dashboard::History out;
  out.runs = store.runs(filter);
  out.verifications = store.verifications(filter);
  out.rows = store.rows(filter);
  out.probes = store.probes(filter);
  reports::RunFilter drawn;
  drawn.ids = dashboard::runs_with_heat_maps(out.runs, out.verifications);
  if (!drawn.ids.empty()) out.taps = store.taps(drawn);  // no ids would be all runs
  out.facts = store.facts(filter);
  return out;
}

void require_ours(const fs::path& index) {
  if (!fs::exists(index)) return;
  require_regular_file(index.string());
  if (fs::file_size(index) > kLargestIndex || !dashboard::is_ours(read_text_file(index.string(), kLargestIndex))) {
    throw request_error("report.foreign", fmt::format("{}: is a page that mlbench report did not make: name another "
                                                      "folder, or remove it",
                                                      index.string()));
  }
}

// The folder is there afterwards, and may be written to. What else is in it stays.
void prepare(const fs::path& folder) {
  std::error_code why;
  if (fs::exists(folder, why) && !fs::is_directory(folder, why)) {
    throw request_error("report.not_a_folder",
                        fmt::format("{}: is a file; -o names a folder, --single-file a file", folder.string()));
  }
  require_ours(folder / "index.html");
  fs::create_directories(folder, why);
  if (why) throw Error(ErrorKind::internal, "file.unwritable", fmt::format("{}: {}", folder.string(), why.message()));
  require_writable((folder / "index.html").string());
}

// The options that choose runs, as they were given; all others are named in `apart`.
std::string filter_of(const CLI::App& command, const std::set<std::string>& apart) {
  std::string out;
  for (const CLI::Option* option : command.get_options()) {
    if (option->count() == 0 || apart.contains(option->get_name())) continue;
    out += fmt::format("{}{} {}", out.empty() ? "" : " ", option->get_name(), shell_word(option->results().front()));
  }
  return out;
}

int report(const Options& options, const std::string& filter_text) {
  if (options.folder.empty() && options.single_file.empty())
    throw request_error("usage", "report needs -o FOLDER, --single-file FILE, or both");
  const reports::RunFilter filter = options.filter.filter();
  const reports::Store store = open_store(options.store, reports::Store::Access::read);
  if (!options.folder.empty()) prepare(options.folder);
  if (!options.single_file.empty()) require_writable(options.single_file);
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  dashboard::Made made;
  made.when = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(now));
  made.program = fmt::format("mlbench {}", program_version());
  made.store = options.store.empty() ? reports::Store::default_file().string() : options.store;
  made.filter = filter_text;
  made.title = options.title;
  const nlohmann::ordered_json data = dashboard::data_of(read(store, filter), made);
  if (!options.folder.empty()) {
    for (const dashboard::PageFile& part : dashboard::page_in_files(data))
      write_file_whole((fs::path(options.folder) / part.name).string(), part.text);
  }
  if (!options.single_file.empty()) write_file_whole(options.single_file, dashboard::page_in_one(data));
  return 0;
}

}  // namespace

void add_report_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("report", "Make a dashboard of the history of runs: a page for any browser");
  add_store_option(*command, options->store);
  command->add_option("-o,--output", options->folder, "Write the page as index.html and files beside it to this folder")
      ->type_name("FOLDER");
  command->add_option("--single-file", options->single_file, "Write the page with all that it needs as one file")
      ->type_name("FILE");
  command->add_option("--title", options->title, "Words at the head of the page")->type_name("TEXT");
  options->filter.add_to(*command);
  command->footer(
      "The page fetches nothing from a network and opens from the disk. Other files of the folder stay as they are.\n"
      "Exit codes: 0 made, 2 the store or the request is wrong, 4 the page cannot be written.\n"
      "Example: mlbench report -o site/\n"
      "         mlbench report --store history.db --branch main --since 2026-01-01 --single-file history.html");
  const std::set<std::string> apart = {"--store", "--output", "--single-file", "--title"};
  command->callback([options, command, apart, &action] {
    action = [options, filter = filter_of(*command, apart)] { return report(*options, filter); };
  });
}

}  // namespace mlbench::cli
