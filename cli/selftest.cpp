#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "backends/registry.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "core/error.h"
#include "core/file_map.h"
#include "harness/selftest/choice.h"
#include "harness/selftest/selftest.h"
#include "reports/selftest_report.h"

namespace mlbench::cli {
namespace {

constexpr std::string_view kOfParts = "cpu";  // the backend whose sessions hold the parts of split models

struct Options {
  std::vector<std::string> dtypes = {"f32", "bf16"};
  std::vector<std::string> mistakes;
  Index seeds = 2;
  bool list = false;
  std::string json;
  std::string color = "auto";
  int threads = Workers::hardware();
};

std::vector<DType> dtypes_of(const Options& options) {
  std::vector<DType> out;
  for (const std::string& text : options.dtypes) {
    const std::optional<DType> dtype = parse_dtype(text);
    if (dtype != DType::f32 && dtype != DType::bf16) {
      throw request_error("usage", fmt::format("--dtype {}: the selftest has f32 and bf16", in_quotes(text)));
    }
    out.push_back(*dtype);
  }
  return out;
}

int run(const Options& options) {
  selftest::SelftestOptions run;
  run.dtypes = dtypes_of(options);
  const selftest::Choice choice = selftest::mistakes_named(options.mistakes);
  run.mistakes = choice.mistakes;
  run.parallel_mistakes = choice.parallel;
  run.backend_of_parts = [] {
    return std::ranges::find(backends::built_in(), kOfParts, &backends::Entry::name)->make();
  };
  run.seeds = options.seeds;
  if (options.list) {
    print(selftest::list_of_mistakes() + "\n" + selftest::list_of_parallel_mistakes());
    return 0;
  }
  ProgressLine line(stderr_is_terminal());
  run.progress = [&](const std::string& doing, double done) { line.show(doing, done); };
  Workers workers(options.threads);
  const SelftestResults results = selftest::run_selftest(run, workers);
  line.clear();
  const std::string json = options.json.empty() ? "" : reports::to_json(results).dump(1) + "\n";
  if (!options.json.empty() && options.json != "-") write_file_whole(options.json, json);
  print(options.json == "-" ? json : reports::to_text(results, use_color(options.color)));
  return results.enough() ? 0 : 1;
}

}  // namespace

void add_selftest_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("selftest", "Plant known mistakes and count those that verification finds");
  command->add_option("--dtype", options->dtypes, "Storage types, separated by commas: f32, bf16")
      ->delimiter(',')
      ->type_name("TYPE");
  command->add_option("--mistake", options->mistakes, "These alone, separated by commas (mlbench selftest --list)")
      ->delimiter(',')
      ->type_name("NAME");
  command->add_option("--seeds", options->seeds, "Honest runs of each configuration; 0: none")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  command->add_flag("--list", options->list, "The table of mistakes, as Markdown");
  command
      ->add_option("--json", options->json,
                   "Write the result as JSON to this file; - for standard output instead of the table")
      ->type_name("FILE");
  command->add_option("--threads", options->threads, "Runs at a time")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--color", options->color, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
  command->footer(
      "Exit codes: 0 verification is to be believed, 1 it is not: a mistake was not found, or an honest run failed.\n"
      "Example: mlbench selftest --dtype f32 --mistake rope-theta-default,mask-sees-next --seeds 0");
  command->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace mlbench::cli
