#include <memory>

#include <fmt/format.h>

#include "cli/backends.h"
#include "cli/command.h"
#include "cli/interruption.h"
#include "cli/plan_options.h"
#include "cli/progress.h"
#include "core/error.h"
#include "core/file_map.h"
#include "harness/memory.h"
#include "harness/soak/soak.h"
#include "reports/soak_report.h"

namespace mlbench::cli {
namespace {

constexpr double kSecondsPerMinute = 60.0;
constexpr double kMostMinutes = 100000.0;  // ten weeks

struct Options {
  ModelOptions model;
  std::string backend, device, dtype = "f32", json, color = "auto";
  PluginOptions plugin;
  soak::SoakOptions soak;
  double minutes = 1.0;
  int threads = Workers::hardware();
};

void write_json(const std::string& where, const SoakResults& result) {
  if (where.empty()) return;
  const std::string text = json_text(reports::to_json(result));
  if (where == "-") return print(text);
  write_file_whole(where, text);
}

int exit_code_of(const SoakResults& result) {
  if (result.interrupted) return kInterrupted;
  return result.verdict() == BackendVerification::Verdict::passed ? 0 : 1;
}

int run(Options options) {
  if (!options.model.given())
    throw request_error("usage", "soak: name a model with --model DIR, --arch A or --preset P");
  if (!options.json.empty() && options.json != "-") require_writable(options.json);
  const auto backend = make_backend(options.backend, options.device, options.plugin);
  soak::SoakOptions& run = options.soak;
  run.run.dtype = require_dtype(options.dtype);
  run.run.device = options.device;
  run.run.threads = options.threads;
  run.seconds = options.minutes * kSecondsPerMinute;
  run.seed = options.model.seed();
  const ModelConfig config = options.model.config();
  if (const backends::Support support = backend->supports(config, run.run); !support)
    throw Error(ErrorKind::unavailable, "backend.unavailable",
                fmt::format("backend {} does not support this: {}", backend->name(), support.reason));
  harness::require_memory(soak::memory_estimate(config, *backend, run), options.model.description());
  run.telemetry.sources = soak::sources_for(std::string(backend->name()), options.device);
  note_interruptions();
  run.interrupted = interrupted;
  ProgressLine line(stderr_is_terminal());
  run.progress = [&](const std::string& doing, double done) { line.show(doing, done); };
  Workers workers(options.threads);
  const Model model = options.model.load(run.run.dtype, false, workers);
  SoakResults result = soak::soak(model, *backend, run, workers);
  line.clear();
  result.command = own_command_line();
  write_json(options.json, result);
  if (options.json != "-") print(reports::to_text(result, use_color(options.color)));
  return exit_code_of(result);
}

}  // namespace

void add_soak_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  soak::SoakOptions& soak = options->soak;
  CLI::App* command = app.add_subcommand("soak", "Keep a backend busy and check every value that it computes");
  options->model.add_to(*command);
  command->add_option("--backend", options->backend, "cpu (mlbench list backends), or the path of a library")
      ->required();
  options->plugin.add_to(*command);
  command->add_option("--device", options->device, "Device of the backend (mlbench list devices)");
  command->add_option("--dtype", options->dtype, "Storage type: f32, bf16, f16")->capture_default_str();
  command->add_option("--minutes", options->minutes, "How long; what is prepared and checked before does not count")
      ->check(CLI::Range(0.0, kMostMinutes))
      ->capture_default_str();
  command->add_option("--iterations", soak.iterations, "At most so many iterations; 0: any number")
      ->check(CLI::Range(Index{0}, Index{1} << 40U))
      ->capture_default_str();
  command->add_option("--workloads", soak.workloads, "Different workloads, run in turns")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->add_option("--calls", soak.calls, "Calls of each workload")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command
      ->add_option(
          "--taps-every", soak.taps_every,
          "Every Nth round of the workloads gives its taps, so that a wrong value is named where it was made; 0: "
          "none, results alone are checked")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  command->add_flag("--stop-at-first", soak.stop_at_first, "End after the first iteration with a wrong value");
  command->add_option("--threads", options->threads, "Threads of the reference and of a backend on the processor")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command
      ->add_option("--json", options->json,
                   "Write the result as JSON to this file; - for standard output instead of the table")
      ->type_name("FILE");
  command->add_option("--color", options->color, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
  command->footer(
      "Exit codes: 0 every value was right, 1 one was not, or the backend failed, 2 the request is wrong, 3 the "
      "backend is\n"
      "not there or does not support the model, 130 interrupted: what was found so far is kept.\n"
      "Example: mlbench soak --arch llama --backend cpu --dtype bf16 --minutes 5\n"
      "         mlbench soak --arch olmo --backend ./libyours.so --iterations 100 --stop-at-first");
  command->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace mlbench::cli
