#include <charconv>
#include <memory>
#include <sstream>

#include <fmt/format.h>

#include "cli/bench_resume.h"
#include "cli/command.h"
#include "cli/store_options.h"
#include "core/error.h"
#include "core/file_map.h"
#include "harness/measure/compare_runs.h"
#include "reports/bench_report.h"

namespace mlbench::cli {
namespace {

struct Options {
  std::string base, next;  // files, and runs of the store, separated by commas
  std::string store;
  measure::CompareOptions how;
  bool fail_undecided = false;
  std::string json, markdown, junit;
  std::string color = "auto";
};

constexpr std::string_view kStored = "store:";

reports::RunId run_number(const std::string& text) {
  reports::RunId id = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, wrong] = std::from_chars(text.data() + kStored.size(), end, id);
  if (wrong != std::errc() || stopped != end || id < 1)
    throw request_error("usage",
                        fmt::format("{}: must be store: and the number of a run, as store:12", in_quotes(text)));
  return id;
}

// Runs of files, and of the history.
std::vector<BenchRun> read(const Options& options, const std::string& list) {
  std::vector<BenchRun> runs;
  std::istringstream words(list);
  for (std::string word; std::getline(words, word, ',');) {
    if (!word.starts_with(kStored)) {
      runs.push_back(reports::read_bench_run(read_text_file(word, kLargestRun), word));
      continue;
    }
    const reports::RunId id = run_number(word);
    const reports::Store store = open_store(options.store, reports::Store::Access::read);
    const std::string document = store.document(id);
    if (store.runs({.ids = {id}}).at(0).kind != reports::StoredKind::benchmark)
      throw request_error("usage",
                          fmt::format("{}: is a verification; mlbench history drift shows how these change", word));
    runs.push_back(reports::read_bench_run(document, word));
  }
  return runs;
}

int compare(const Options& options) {
  for (const std::string& file : {options.json, options.markdown, options.junit}) {
    if (!file.empty() && file != "-") require_writable(file);
  }
  const std::vector<BenchRun> base = read(options, options.base), next = read(options, options.next);
  BenchComparison comparison = measure::compare_runs(base, next, options.how);
  comparison.base = options.base;
  comparison.next = options.next;
  const std::string json = json_text(reports::to_json(comparison));
  if (!options.json.empty() && options.json != "-") write_file_whole(options.json, json);
  if (!options.markdown.empty()) write_file_whole(options.markdown, reports::to_markdown(comparison));
  if (!options.junit.empty()) write_file_whole(options.junit, reports::to_junit(comparison));
  print(options.json == "-" ? json : reports::to_text(comparison, use_color(options.color)));
  if (comparison.any(Difference::slower)) return 1;
  return options.fail_undecided && comparison.any(Difference::undecided) ? 1 : 0;
}

}  // namespace

void add_compare_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("compare", "Tell whether two benchmark results, or two sets of them, differ");
  command
      ->add_option("base", options->base,
                   "Result to compare with: a file, or store:ID for a run of the history; several, separated by "
                   "commas, are a set")
      ->required()
      ->type_name("BASE");
  command->add_option("new", options->next, "Result, or set of them, that is judged")->required()->type_name("NEW");
  add_store_option(*command, options->store);
  command->add_option("--floor", options->how.floor, "The smallest change of a median that matters, as a share")
      ->check(CLI::Range(0.0, 0.5))
      ->capture_default_str();
  command->add_option("--confidence", options->how.confidence, "Of the interval of each ratio")
      ->check(CLI::Range(0.5, 0.9999))
      ->capture_default_str();
  command
      ->add_option("--family-error", options->how.family_error,
                   "Chance of any false alarm among all rows, by Holm's correction")
      ->check(CLI::Range(1e-9, 0.5))
      ->capture_default_str();
  command
      ->add_option("--between-runs", options->how.between_runs,
                   "Relative standard deviation of the medians of runs of one build on this machine, where it is known")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_flag("--paired", options->how.paired,
                    "The results of both sides were interleaved, the first with the first and so on, by mlbench bench "
                    "--against; three and more of each also show what a process keeps for itself");
  command->add_flag("--force", options->how.force, "Compare rows although device, versions or settings differ");
  command->add_flag("--fail-undecided", options->fail_undecided, "Exit 1 where a row is undecided, too");
  command
      ->add_option("--json", options->json,
                   "Write the comparison as JSON to this file; - for standard output instead of the table")
      ->type_name("FILE");
  command->add_option("--md", options->markdown, "Write a summary for a pull request, in Markdown, to this file")
      ->type_name("FILE");
  command->add_option("--junit", options->junit, "Write the comparison as JUnit XML to this file")->type_name("FILE");
  command->add_option("--color", options->color, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
  command->footer(
      "Reads results of mlbench bench --json, of Google Benchmark (JSON) and of llama-bench (JSON, JSONL).\n"
      "Exit codes: 0 nothing is slower, 1 something is, 2 a file or the request is wrong.\n"
      "Example: mlbench compare base.json new.json\n"
      "         mlbench compare store:12 store:15\n"
      "         mlbench compare a1.json,a2.json,a3.json b1.json,b2.json,b3.json");
  command->callback([options, &action] { action = [options] { return compare(*options); }; });
}

}  // namespace mlbench::cli
