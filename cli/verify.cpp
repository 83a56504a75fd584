#include <array>
#include <cmath>
#include <filesystem>
#include <memory>
#include <span>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/backends.h"
#include "cli/command.h"
#include "cli/plan_options.h"
#include "cli/progress.h"
#include "cli/split_backend.h"
#include "cli/store_options.h"
#include "core/error.h"
#include "core/file_map.h"
#include "harness/memory.h"
#include "harness/plan_json.h"
#include "harness/verify_backend.h"
#include "harness/verify_golden.h"
#include "harness/verify_own_golden.h"
#include "reports/backend_report.h"
#include "reports/golden_run.h"
#include "reports/html.h"
#include "reports/junit.h"
#include "reports/markdown.h"
#include "reports/verification_report.h"

namespace mlbench::cli {
namespace {

using harness::Plan;

struct Options {
  ModelOptions model;
  PlanOptions plan;
  std::string backend;
  PluginOptions plugin;
  SplitOptions split;
  std::string device;
  std::string golden;
  std::vector<std::string> dtypes;
  std::vector<std::string> inputs;
  std::string save_failing;
  std::string mode = "both";
  std::string bounds = "probabilistic";
  std::string rope_compat = "f64";
  std::string json, junit, markdown, html;
  std::string color = "auto";
  double rtol = harness::kGoldenRtol;
  int threads = Workers::hardware(), threads_of_rank = 1;
  bool strict = false;
  bool trust = false;
  StoreOptions store;
};

// ---- what was asked for ----

std::vector<DType> dtypes_of(const Options& options) {
  std::vector<std::string> names = options.dtypes;
  if (names.empty()) names.emplace_back(options.backend == "reference" ? "f64" : "f32");
  std::vector<DType> out;
  for (const std::string& text : names) out.push_back(require_dtype(text));
  return out;
}

// Of a golden, its own; else all kinds.
std::vector<Inputs> inputs_of(const Options& options) {
  if (options.inputs.empty() && !options.golden.empty()) return {Inputs::random};
  if (options.inputs.empty()) return {std::begin(kInputs), std::end(kInputs)};
  std::vector<Inputs> out;
  for (const std::string& text : options.inputs) {
    const auto inputs = parse_inputs(text);
    if (!inputs)
      throw request_error("usage", fmt::format("--inputs {}: must be random, exact or adversarial", in_quotes(text)));
    out.push_back(*inputs);
  }
  return out;
}

void check(const Options& options) {
  if (!options.model.given())
    throw request_error("usage", "verify: name a model with --model DIR, --arch A or --preset P");
  if (!std::isfinite(options.rtol) || options.rtol <= 0.0) throw request_error("usage", "--rtol: must be a number > 0");
  (void)inputs_of(options);
  if (options.trust && !options.inputs.empty())
    throw request_error("usage", "--inputs: --trust-golden runs the golden's own");
  if (options.trust && options.bounds != "probabilistic")
    throw request_error("usage", "--bounds: --trust-golden judges by the golden's own limits");
  if (options.trust && options.golden.empty()) throw request_error("usage", "--trust-golden: needs --golden FILE");
  if (options.golden.empty()) return;
  if (options.model.each().size() > 1) throw request_error("usage", "--golden: is of one architecture");
  for (const DType dtype : dtypes_of(options)) {
    if (options.backend == "reference" && dtype != DType::f64)
      throw request_error("usage", fmt::format("--dtype {}: backend reference computes in f64", name(dtype)));
  }
}

// ---- results ----

void write_json(const std::string& where, const std::string& text) {
  if (where == "-") print(text);
  if (!where.empty() && where != "-") write_file_whole(where, text);
}

// Every report but JSON, which has two forms.
void write_reports(const Options& options, std::span<const BackendVerification> results) {
  if (!options.junit.empty()) write_file_whole(options.junit, reports::to_junit(results));
  if (!options.markdown.empty()) write_file_whole(options.markdown, reports::to_markdown(results));
  if (!options.html.empty()) write_file_whole(options.html, reports::to_html(results));
}

Model load(const Options& options, const ModelOptions& choice, DType dtype, Workers& workers) {
  Model model = choice.load(dtype, options.strict, workers);
  for (const std::string& warning : model.warnings) fmt::print(stderr, "warning: {}\n", one_line(warning));
  return model;
}

// ---- the reference against a golden ----

// A golden that is open, in one of the two layouts.
struct OpenGolden {
  golden::GoldenFile file;
  std::optional<golden::OwnGolden> own;
  std::optional<golden::HfGolden> hf;  // read when the plan is made from it

  explicit OpenGolden(const std::string& path) : file(path) {
    if (golden::is_own_layout(file)) own.emplace(file);
  }
  [[nodiscard]] Plan plan(const ModelConfig& config) {
    if (own) return harness::parse_plan(own->manifest().plan, file.path());
    hf = golden::read_hf_layout(file);
    return harness::plan_of(*hf, config);
  }
};

GoldenVerification verify_reference(const Options& options, Workers& workers, OpenGolden& golden) {
  const DType dtype = golden.own ? harness::dtype_of(*golden.own, golden.file.path()) : DType::f64;
  const Model model = load(options, options.model, dtype, workers);
  ProgressLine line(stderr_is_terminal());
  harness::GoldenOptions run;
  run.rtol = options.rtol;
  run.rope_compat = options.rope_compat == "f32" ? ref::RopeCompat::f32 : ref::RopeCompat::f64;
  run.progress = [&](const std::string& doing, double done) { line.show(doing, done); };
  if (golden.own) return harness::verify_own_golden(model, *golden.own, golden.file.path(), workers, run);
  return harness::verify_golden(model, golden.file, workers, run);
}

int report(const Options& options, const GoldenVerification& result, const OwnRun& own_run) {
  const std::string json = json_text(reports::to_json(result));
  write_json(options.json, json);
  write_reports(options, std::array{reports::as_run(result)});
  if (options.json != "-") print(reports::to_text(result, use_color(options.color)));
  return own_run.store(json, result.passed() ? 0 : 1);
}

// ---- a backend against the live reference ----

std::string again(const Options& options, const ModelOptions& model, const BackendVerification& result) {
  if (result.passed()) return "";
  const TapCheck* first = result.first_failure();
  std::string command = fmt::format("mlbench verify {} --backend {} --dtype {}", model.command_line(),
                                    shell_word(options.backend), result.dtype);
  // Exact checks are isolated ones, on a model of their own that the call's label names.
  if (first != nullptr) command += first->mode == VerifyMode::chained ? " --mode chained" : " --mode isolated";
  if (options.bounds != "probabilistic") command += " --bounds " + options.bounds;
  command += options.split.command_line() + options.plugin.command_line() + options.plan.command_line();
  if (!options.golden.empty()) command += " --golden " + shell_word(options.golden);
  if (options.trust) command += " --trust-golden";
  if (first != nullptr) command += " --call " + shell_word(first->call);  // a label may come from a golden
  return command;
}

// Of a model that is not run.
BackendVerification not_run(const ModelOptions& choice, const ModelConfig& config, const backends::Backend& backend,
                            DType dtype) {
  BackendVerification out;
  out.model = choice.description();
  out.architecture = name(config.architecture);
  out.backend = backend.name();
  out.version = backend.version();
  out.dtype = name(dtype);
  return out;
}

golden::OwnGolden& trusted(OpenGolden& golden) {
  if (golden.own) return *golden.own;
  throw request_error("golden.no_limits",
                      fmt::format("{}: holds no limits to trust: it is in Hugging Face's layout, not made by mlbench "
                                  "golden make",
                                  golden.file.path()));
}

// One model in one type, checked as far as it can be before anything is loaded.
struct Job {
  ModelOptions choice;
  ModelConfig config;
  std::vector<harness::VerifyCase> cases;
  DType dtype = DType::f32;
  backends::Support support;
  std::uint64_t memory_bytes = 0;
  std::string error;  // what the backend threw when it was asked; empty: nothing
};

harness::BackendOptions run_options(const Options& options, DType dtype, OpenGolden* golden) {
  harness::BackendOptions run;
  run.run = options.split.run();
  run.run.dtype = dtype;
  run.run.device = options.device;
  run.run.threads = options.threads_of_rank;
  run.isolated = options.mode != "chained";
  run.chained = options.mode != "isolated";
  run.bounds = options.bounds == "deterministic" ? harness::Bounds::deterministic : harness::Bounds::probabilistic;
  run.schedules = golden == nullptr && !options.plan.narrows();
  if (golden != nullptr && golden->hf) {
    run.golden_file = &golden->file;
    run.golden = &*golden->hf;
  }
  return run;
}

// What the backend says of the job before anything is loaded. One that fails at that fails its job alone.
void ask(Job& job, const backends::Backend& backend, const harness::BackendOptions& run) {
  try {
    job.support = backend.supports(job.config, run.run);
    for (const harness::VerifyCase& one : job.cases) {
      if (!job.support) break;
      job.memory_bytes = std::max(job.memory_bytes, harness::memory_estimate(one.config.value_or(job.config), job.dtype,
                                                                             backend, one.plan, run));
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::internal) throw;
    job.error = fmt::format("{}: {}", error.code(), error.message());
  }
}

std::vector<Job> jobs_of(const Options& options, const backends::Backend& backend, OpenGolden* golden) {
  std::vector<Job> jobs;
  for (const ModelOptions& choice : options.model.each()) {
    const ModelConfig config = choice.config();
    const Plan plan = golden != nullptr ? golden->plan(config) : options.plan.whole(config);
    const std::vector<harness::VerifyCase> cases =
        options.plan.narrowed(harness::make_cases(config, plan, inputs_of(options), 1, options.split.split));
    for (const DType dtype : dtypes_of(options)) {
      const harness::BackendOptions run = run_options(options, dtype, golden);
      Job job;
      job.choice = choice;
      job.config = config;
      job.cases = cases;
      job.dtype = dtype;
      ask(job, backend, run);
      harness::require_memory(job.memory_bytes, choice.description());
      jobs.push_back(std::move(job));
    }
  }
  return jobs;
}

BackendVerification verify_one(const Options& options, const Job& job, backends::Backend& backend, OpenGolden* golden,
                               Workers& workers) {
  if (!job.support || !job.error.empty()) {
    BackendVerification out = not_run(job.choice, job.config, backend, job.dtype);
    if (!job.support) out.unsupported.push_back({"model", job.support.reason});
    out.error = job.error;
    return out;
  }
  if (stderr_is_terminal()) {
    Index rows = 0;
    for (const harness::VerifyCase& one : job.cases) rows += harness::total_rows(one.plan);
    fmt::print(stderr, "{}, {}: {} rows, up to {:.1f} GiB of memory\n", job.choice.description(), name(job.dtype), rows,
               static_cast<double>(job.memory_bytes) / 0x1p30);
  }
  const Model model = load(options, job.choice, job.dtype, workers);
  ProgressLine line(stderr_is_terminal());
  harness::BackendOptions run = run_options(options, job.dtype, golden);
  run.progress = [&](const std::string& doing, double done) { line.show(doing, done); };
  if (!options.save_failing.empty()) {
    run.evidence = [&](const harness::Evidence& evidence) {
      harness::save(evidence,
                    fmt::format("{}/{}.{}", options.save_failing, name(job.config.architecture), name(job.dtype)));
    };
  }
  BackendVerification result = options.trust
                                   ? harness::verify_trusted(model, backend, trusted(*golden), golden->file.path(),
                                                             job.cases.front().plan, run, workers)
                                   : harness::verify_backend(model, backend, job.cases, run, workers);
  result.again = again(options, job.choice, result);
  result.memory_estimate_bytes = job.memory_bytes;
  result.memory_peak_bytes = harness::peak_memory_bytes();
  return result;
}

int exit_code_of(const std::vector<BackendVerification>& results, bool on_ranks) {
  // What ends ranks ends a run, whatever was found before.
  if (on_ranks && !results.empty() && !results.back().error.empty()) return exit_code(ErrorKind::internal);
  using Verdict = BackendVerification::Verdict;
  const Verdict verdict = reports::verdict_of(results);
  if (verdict == Verdict::unsupported) return exit_code(ErrorKind::unavailable);
  return verdict == Verdict::passed ? 0 : 1;
}

int verify(Options options) {
  become_rank_if_given();
  check(options);
  for (const ModelOptions& choice : options.model.each())
    require_split(choice.config(), options.split.run(), choice.description());
  SplitBackend split(options.backend, options.device, options.plugin);
  split.require(options.split.run());
  backends::Backend& backend = split.get();
  const bool on_ranks = split.on_ranks(options.split.run());
  options.threads_of_rank = split.threads_of_rank(options.split.run(), options.threads);
  if (!options.json.empty() && options.json != "-") require_writable(options.json);  // now, not after an hour
  for (const std::string& file : {options.junit, options.markdown, options.html}) {
    if (!file.empty()) require_writable(file);
  }
  std::optional<OpenGolden> golden;
  if (!options.golden.empty()) golden.emplace(options.golden);  // its reader process starts before our threads do
  const OwnRun own_run(options.store);
  Workers workers(options.threads);
  if (golden && options.trust) (void)trusted(*golden);
  if (golden && !options.trust) {
    const GoldenVerification reference = verify_reference(options, workers, *golden);
    if (options.backend == "reference" || !reference.passed()) return report(options, reference, own_run);
  }
  std::vector<BackendVerification> results;
  const bool color = use_color(options.color);
  OpenGolden* const opened = golden ? &*golden : nullptr;
  for (const Job& job : jobs_of(options, backend, opened)) {
    results.push_back(verify_one(options, job, backend, opened, workers));
    results.back().split = split.description(options.split);
    if (options.json != "-") print(reports::to_text(results.back(), color) + "\n");
    if (on_ranks && !results.back().error.empty()) break;  // they are gone
  }
  const std::string json = json_text(reports::to_json(results));
  write_json(options.json, json);
  write_reports(options, results);
  if (options.json != "-" && results.size() > 1) print(reports::summary_text(results, color));
  return own_run.store(json, exit_code_of(results, on_ranks));
}

void add_what(CLI::App& command, Options& options) {
  options.model.add_to(command, true);
  command
      .add_option("--backend", options.backend,
                  "What is checked: cpu, reference (mlbench list backends), or the path of a library")
      ->required();
  options.plugin.add_to(command);
  options.split.add_to(command);
  command.add_option("--device", options.device, "Device of the backend (mlbench list devices)");
  command.add_option("--dtype", options.dtypes, "Storage types, separated by commas: f64, f32, bf16, f16")
      ->delimiter(',')
      ->type_name("TYPE");
  command.add_option("--mode", options.mode, "isolated, chained or both")
      ->check(CLI::IsMember({"isolated", "chained", "both"}))
      ->capture_default_str();
  command
      .add_option("--bounds", options.bounds,
                  "Of sums, isolated: probabilistic (one false alarm in a million runs) or deterministic (the worst "
                  "case of any roundings, much wider)")
      ->check(CLI::IsMember({"probabilistic", "deterministic"}))
      ->capture_default_str();
  options.plan.add_to(command);
  command
      .add_option("--inputs", options.inputs,
                  "What is shown to the backend, separated by commas: random (an everyday run), exact (small models "
                  "whose values leave nothing to round), adversarial (rows and positions that mistakes hide from); "
                  "default: all, with --golden random")
      ->delimiter(',')
      ->type_name("KIND");
  command.add_option("--golden", options.golden, "Golden whose inputs are run (mlbench golden --help)");
  command.add_flag("--trust-golden", options.trust,
                   "Judge by the limits that stand in the golden, without evaluating the reference");
  command.add_option("--rtol", options.rtol, "With --golden: limit of max|difference| / max|golden| for each tap")
      ->capture_default_str();
  command
      .add_option("--rope-compat", options.rope_compat,
                  "With --golden: build rotary angles in f64, or as engines do in f32")
      ->check(CLI::IsMember({"f64", "f32"}))
      ->capture_default_str();
  command.add_flag("--strict", options.strict,
                   "A tensor in the checkpoint that nothing uses is an error, not a warning");
  command.add_option("--threads", options.threads, "Threads of the reference and of a backend on the processor")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
}

void add_output(CLI::App& command, Options& options) {
  command
      .add_option("--save-failing", options.save_failing,
                  "Keep the first tap that strays, what was expected and what it was computed from, as HDF5 in this "
                  "folder (mlbench golden diff)")
      ->type_name("DIR");
  command
      .add_option("--json", options.json,
                  "Write the result as JSON to this file; - for standard output instead of the table")
      ->type_name("FILE");
  command.add_option("--junit", options.junit, "Write the result as JUnit XML to this file")->type_name("FILE");
  command.add_option("--md", options.markdown, "Write a summary for a pull request, in Markdown, to this file")
      ->type_name("FILE");
  command.add_option("--html", options.html, "Write the result as one HTML page with charts to this file")
      ->type_name("FILE");
  command.add_option("--color", options.color, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
}

}  // namespace

void add_verify_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("verify", "Check a backend against a golden or against the float64 reference");
  add_what(*command, *options);
  add_output(*command, *options);
  options->store.add_to(*command);
  command->footer(
      "Exit codes: 0 passed, 1 failed, 2 the request or a file is wrong, 3 the backend is not there or supports "
      "nothing\n"
      "of what was asked, 4 a rank of a split model failed, or the named store could not keep the run.\n"
      "Example: mlbench verify --arch olmo --backend cpu --dtype f32,bf16\n"
      "         mlbench verify --model CHECKPOINT --golden CHECKPOINT/oracle.h5 --backend reference");
  command->callback([options, &action] { action = [options] { return verify(*options); }; });
}

}  // namespace mlbench::cli
