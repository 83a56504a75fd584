#include <cmath>
#include <memory>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "core/error.h"
#include "core/file_map.h"
#include "core/near_names.h"
#include "harness/verify_golden.h"
#include "reports/verification_report.h"

namespace mlbench::cli {
namespace {

struct Options {
  ModelOptions model;
  std::string backend;
  std::string golden;
  std::string dtype = "f64";
  std::string rope_compat = "f64";
  std::string json;
  std::string color = "auto";
  double rtol = harness::kGoldenRtol;
  int threads = Workers::hardware();
  bool strict = false;
};

void require_reference(const Options& options) {
  if (options.backend == "reference") return;
  for (const char* later : {"cpu", "cuda", "rocm"}) {
    if (options.backend == later) {
      throw Error(ErrorKind::unavailable, "backend.unavailable",
                  fmt::format("backend {} is not part of this build; there is: reference", later));
    }
  }
  throw request_error(
      "backend.unknown",
      fmt::format("no backend is called {}{}", in_quotes(options.backend),
                  near_names_hint(options.backend, {"reference", "cpu", "cuda", "rocm"}, "mlbench verify --help")));
}

void check(const Options& options) {
  require_reference(options);
  if (!options.model.given())
    throw request_error("usage", "verify: name a model with --model DIR, --arch A or --preset P");
  if (options.golden.empty()) {
    throw request_error(
        "usage", "verify: --golden FILE is needed: backend reference is the truth that others are compared with");
  }
  if (options.dtype != "f64") {
    throw request_error("usage",
                        fmt::format("--dtype {}: backend reference computes in f64", in_quotes(options.dtype)));
  }
  if (!std::isfinite(options.rtol) || options.rtol <= 0.0) throw request_error("usage", "--rtol: must be a number > 0");
}

int verify(const Options& options) {
  check(options);
  golden::GoldenFile golden(options.golden);  // its reader process starts before our threads do
  Workers workers(options.threads);
  const Model model = options.model.load(DType::f64, options.strict, workers);
  for (const std::string& warning : model.warnings) fmt::print(stderr, "warning: {}\n", one_line(warning));

  ProgressLine line(stderr_is_terminal());
  harness::GoldenOptions run;
  run.rtol = options.rtol;
  run.rope_compat = options.rope_compat == "f32" ? ref::RopeCompat::f32 : ref::RopeCompat::f64;
  run.progress = [&](const std::string& doing, double done) { line.show(doing, done); };
  const GoldenVerification result = harness::verify_golden(model, golden, workers, run);
  line.clear();

  constexpr auto replace = nlohmann::json::error_handler_t::replace;  // folders' names may be no text
  const std::string json = options.json.empty() ? "" : reports::to_json(result).dump(1, ' ', false, replace) + "\n";
  if (options.json == "-") {
    print(json);
  } else {
    if (!options.json.empty()) write_file_whole(options.json, json);
    print(reports::to_text(result, use_color(options.color)));
  }
  return result.passed() ? 0 : 1;
}

}  // namespace

void add_verify_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("verify", "Check a backend against a golden or against the float64 reference");
  options->model.add_to(*command);
  command->add_option("--backend", options->backend, "What is checked: reference")->required();
  command->add_option("--golden", options->golden, "HDF5 file with inputs and results in Hugging Face's layout");
  command->add_option("--rtol", options->rtol, "Limit of max|difference| / max|golden| for each tap")
      ->capture_default_str();
  command->add_option("--dtype", options->dtype, "Type of the backend: f64")->capture_default_str();
  command->add_option("--rope-compat", options->rope_compat, "Build rotary angles in f64, or as engines do in f32")
      ->check(CLI::IsMember({"f64", "f32"}))
      ->capture_default_str();
  command->add_flag("--strict", options->strict,
                    "A tensor in the checkpoint that nothing uses is an error, not a warning");
  command->add_option("--threads", options->threads, "Threads; results do not depend on it")
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
      "Exit codes: 0 passed, 1 failed, 2 the request or a file is wrong, 3 the backend is not there.\n"
      "Example: mlbench verify --model CHECKPOINT --golden CHECKPOINT/oracle.h5 --backend reference");
  command->callback([options, &action] { action = [options] { return verify(*options); }; });
}

}  // namespace mlbench::cli
