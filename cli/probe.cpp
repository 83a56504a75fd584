#include <sched.h>

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "cli/backends.h"
#include "cli/command.h"
#include "cli/plan_options.h"
#include "core/error.h"
#include "core/file_map.h"
#include "reports/bench_report.h"

namespace mlbench::cli {
namespace {

struct Options {
  std::string backend, device, json;
  PluginOptions plugin;
  std::vector<std::string> dtypes = {"f32", "bf16", "f16"};
  std::vector<int> threads;
  double seconds = 1.0;
  int processor = -1;
};

// This process, and what it starts, run on that processor alone.
void stay_on(int processor) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(processor), &one);
  if (::sched_setaffinity(0, sizeof one, &one) != 0)
    throw request_error("usage", fmt::format("--on-processor {}: this process may not run there", processor));
}

int probe(const Options& options) {
  if (!options.json.empty() && options.json != "-") require_writable(options.json);
  if (options.processor >= 0) stay_on(options.processor);
  const auto backend = make_backend(options.backend, options.device, options.plugin);
  std::vector<ProbeResult> results;
  for (const std::string& dtype : options.dtypes) {
    for (const int threads : options.threads.empty() ? std::vector<int>{Workers::hardware()} : options.threads) {
      const backends::RunConfig run{.dtype = require_dtype(dtype), .device = options.device, .threads = threads};
      ProbeResult result{std::string(backend->name()), options.device, dtype, threads, 0.0, 0.0};
      if (const auto rates = backend->measure_rates(run, options.seconds)) {
        result.read_bytes_per_second = rates->read_bytes_per_second;
        result.flops_per_second = rates->flops_per_second;
      }
      results.push_back(result);
    }
  }
  const bool any = std::ranges::any_of(
      results, [](const ProbeResult& r) { return r.read_bytes_per_second > 0.0 || r.flops_per_second > 0.0; });
  if (!any)
    throw Error(ErrorKind::unavailable, "backend.no_probe",
                fmt::format("backend {} does not measure what its device reaches", backend->name()));
  const std::string json = json_text(reports::to_json(results));
  if (!options.json.empty() && options.json != "-") write_file_whole(options.json, json);
  print(options.json == "-" ? json : reports::to_text(results));
  return 0;
}

}  // namespace

void add_probe_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("probe", "Measure what a device reaches: memory bandwidth and rate of matrix products");
  command->add_option("--backend", options->backend, "cpu (mlbench list backends), or the path of a library")
      ->required();
  options->plugin.add_to(*command);
  command->add_option("--device", options->device, "Device of the backend (mlbench list devices)");
  command->add_option("--dtype", options->dtypes, "Types of the products, separated by commas")
      ->delimiter(',')
      ->type_name("TYPE")
      ->capture_default_str();
  command->add_option("--threads", options->threads, "Threads of a backend on the processor; default all")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  command
      ->add_option("--on-processor", options->processor,
                   "Run on this thread of the processor alone, counted as Linux does")
      ->check(CLI::Range(0, CPU_SETSIZE - 1))
      ->type_name("N");
  command->add_option("--seconds", options->seconds, "For each of the measurements")
      ->check(CLI::Range(0.01, 600.0))
      ->capture_default_str();
  command->add_option("--json", options->json, "Write the result as JSON to this file; - for standard output")
      ->type_name("FILE");
  command->footer("Example: mlbench probe --backend cpu --dtype f32,bf16 --threads 1,2");
  command->callback([options, &action] { action = [options] { return probe(*options); }; });
}

}  // namespace mlbench::cli
