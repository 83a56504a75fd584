// mlbench golden make: computes a golden with the float64 reference.
#include <memory>

#include <fmt/format.h>

#include "cli/golden.h"
#include "cli/plan_options.h"
#include "cli/progress.h"
#include "cli/version.h"
#include "core/error.h"
#include "harness/golden_make.h"
#include "harness/memory.h"
#include "harness/reference_backend.h"
#include "harness/verify_backend.h"

namespace mlbench::cli {
namespace {

struct Options {
  ModelOptions model;
  PlanOptions plan;
  std::string out;
  std::string dtype = "f64";
  int threads = Workers::hardware();
  bool strict = false;
};

int make(const Options& options) {
  if (!options.model.given())
    throw request_error("usage", "golden make: name a model with --model DIR, --arch A or --preset P");
  const DType dtype = require_dtype(options.dtype);
  const ModelConfig config = options.model.config();
  const harness::Plan plan = options.plan.plan(config);
  harness::BackendOptions like;
  like.run.dtype = dtype;
  like.chained = dtype != DType::f64;
  harness::require_memory(harness::memory_estimate(config, dtype, *harness::make_reference_backend(), plan, like),
                          options.model.description());
  Workers workers(options.threads);
  const Model model = options.model.load(dtype, options.strict, workers);
  for (const std::string& warning : model.warnings) fmt::print(stderr, "warning: {}\n", one_line(warning));
  ProgressLine line(stderr_is_terminal());
  harness::GoldenMakeOptions run;
  run.dtype = dtype;
  run.seed = options.model.seed();
  run.program_version = program_version();
  run.progress = [&](const std::string& doing, double done) { line.show(doing, done); };
  harness::make_golden(model, plan, options.out, run, workers);
  line.clear();
  print(fmt::format("{}: {} calls, {} rows of {}\n", cell_text(options.out, 1000), harness::total_calls(plan),
                    harness::total_rows(plan), model.origin));
  return 0;
}

}  // namespace

void add_golden_make(CLI::App& golden, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = golden.add_subcommand("make", "Compute a golden with the float64 reference");
  options->model.add_to(*command);
  command->add_option("--out,-o", options->out, "The HDF5 file to write")->required()->type_name("FILE");
  command
      ->add_option("--dtype", options->dtype,
                   "Round the weights to this type first and store, beside every tap, how far a backend that keeps "
                   "everything in it may stray (verify --trust-golden); f64: neither")
      ->capture_default_str();
  options->plan.add_to(*command);
  command->add_flag("--strict", options->strict,
                    "A tensor in the checkpoint that nothing uses is an error, not a warning");
  command->add_option("--threads", options->threads, "Threads; the bytes written do not depend on it")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->footer("Example: mlbench golden make --arch phi --dtype bf16 --out phi.h5");
  command->callback([options, &action] { action = [options] { return make(*options); }; });
}

}  // namespace mlbench::cli
