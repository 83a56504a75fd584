#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>
#include <memory>
#include <set>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "cli/bench_options.h"
#include "cli/bench_predict.h"
#include "cli/bench_resume.h"
#include "cli/bench_worker.h"
#include "cli/interruption.h"
#include "cli/progress.h"
#include "cli/split_backend.h"
#include "cli/store_options.h"
#include "core/error.h"
#include "core/file_map.h"
#include "harness/measure/compare_runs.h"
#include "harness/measure/environment.h"
#include "harness/measure/figures.h"
#include "harness/measure/local_contender.h"
#include "harness/measure/worker.h"
#include "reports/bench_report.h"

namespace mlbench::cli {
namespace {

using measure::Contender;

// A form in which the run can be written.
struct Output {
  const char* option;
  const char* what;
  std::string (*render)(const BenchRun&);
};
constexpr std::array kOutputs = {
    Output{"--md", "a summary in Markdown", reports::to_markdown},
    Output{"--csv", "comma-separated values", reports::to_csv},
    Output{"--junit", "JUnit XML", reports::to_junit},
    Output{"--google-benchmark", "Google Benchmark's JSON, for its compare.py", reports::to_google_benchmark},
    Output{"--llama-bench", "llama-bench's JSONL", reports::to_llama_bench},
    Output{"--action-bigger", "github-action-benchmark's JSON of what is better when it is bigger",
           reports::to_action_bigger_is_better},
    Output{"--action-smaller", "the same of what is better when it is smaller", reports::to_action_smaller_is_better},
    Output{"--open-metrics", "OpenMetrics text, for Prometheus", reports::to_open_metrics},
};

struct Options {
  SweepOptions sweep;
  PredictCommand predict;
  std::string backend, device;
  PluginOptions plugin;
  double precision = 0.01, max_time = 10.0, floor = 0.02;
  bool no_check = false, no_probe = false;
  StoreOptions store;
  std::uint64_t order_seed = 1;
  std::string resume, shard, against, against_json, json, trace;
  std::array<std::string, kOutputs.size()> files;
  std::string color = "auto";
};

// ---- what was asked for ----

struct Shard {
  Index index = 1, count = 1;
};

Shard shard_of(const std::string& text) {
  Shard out;
  if (text.empty()) return out;
  int used = 0;
  const int fields = std::sscanf(text.c_str(), "%ld/%ld%n", &out.index, &out.count, &used);  // NOLINT(cert-err34-c)
  if (fields != 2 || static_cast<std::size_t>(used) != text.size() || out.count < 1 || out.index < 1 ||
      out.index > out.count)
    throw request_error("usage", fmt::format("--shard {}: must be I/N with 1 <= I <= N", in_quotes(text)));
  return out;
}

void check(const Options& options) {
  if (!(options.precision > 0.0 && options.precision < 1.0))
    throw request_error("usage", "--precision: must be a share between 0 and 1, as 0.01");
  if (!(options.max_time > 0.0 && options.max_time <= 86400.0))
    throw request_error("usage", "--max-time: must be seconds, more than 0 and at most a day");
  if (!options.against.empty() && !(options.resume.empty() && options.shard.empty()))
    throw request_error("usage", "--against: is one whole run, without --resume and --shard");
  if (options.against.empty() && !options.against_json.empty())
    throw request_error("usage", "--against-json: needs --against");
  (void)shard_of(options.shard);
  for (const std::string& file : {options.json, options.against_json, options.trace}) {
    if (!file.empty() && file != "-") require_writable(file);
  }
  for (const std::string& file : options.files) {
    if (!file.empty()) require_writable(file);
  }
}

std::string now() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

// "libx.so", "x.so.3"; every other path is a program's.
bool is_library(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  return name.ends_with(".so") || name.find(".so.") != std::string::npos;
}

// ---- the run ----

class Bench {
 public:
  Bench(const Options& options, backends::Backend& backend)
      : options_(options),
        backend_(backend),
        sweep_(plan_sweep(options.sweep, backend, options.device, Workers::hardware())),
        shard_(shard_of(options.shard)) {}

  [[nodiscard]] const PlannedSweep& planned() const { return sweep_; }
  // The run of this program, and with --against that of the other.
  std::vector<BenchRun> run() {
    BenchRun own = heading();
    const Resumed resumed(options_.resume, own);
    std::vector<bool> done;
    const std::set<std::size_t> whole = resumed.whole_points(sweep_);
    for (const PlannedRow& row : sweep_.rows) done.push_back(!ours(row) || whole.contains(row.number));
    const RunnablePoints points = runnable(sweep_, done);
    const auto groups = groups_of(sweep_, points, backend_);
    if (groups.size() > 1)
      own.environment.warnings.push_back(
          fmt::format("not all models fit into memory at once: {} groups were run one after the other", groups.size()));
    probe(points, own);
    Workers workers(Workers::hardware());
    const auto contenders = contenders_for(points, workers);
    std::vector<Contender*> all;
    for (const auto& contender : contenders) all.push_back(contender.get());
    auto rows = measure::measure(all, points.plans, groups, measure_options());
    progress_.clear();
    const auto changes = measure::warnings_between(before_, measure::capture_environment());
    own.environment.warnings.insert(own.environment.warnings.end(), changes.begin(), changes.end());
    own.interrupted = interrupted();
    std::vector<BenchRun> out;
    for (std::vector<BenchRow>& of_contender : rows) {
      BenchRun run = own;
      run.rows = assemble(of_contender, resumed, whole, run);
      out.push_back(std::move(run));
    }
    return out;
  }

 private:
  // All rows of one point are of one shard.
  [[nodiscard]] bool ours(const PlannedRow& row) const {
    return row.number % static_cast<std::size_t>(shard_.count) == static_cast<std::size_t>(shard_.index - 1);
  }
  BenchRun heading() {
    BenchRun run;
    run.started = now();
    run.command = own_command_line();
    run.seed = options_.order_seed;
    run.precision = options_.precision;
    run.confidence = measure::MeasureOptions{}.confidence;
    run.max_time = options_.max_time;
    run.checked = !options_.no_check;
    run.shard = shard_.index;
    run.shards = shard_.count;
    int threads = 0;
    for (const PlannedRow& row : sweep_.rows) threads = std::max(threads, row.point.threads);
    before_ = measure::capture_environment({.threads = threads});
    run.environment = before_;
    run.environment.facts.emplace_back("backend", fmt::format("{} {}", backend_.name(), backend_.version()));
    for (const backends::DeviceInfo& device : backend_.devices()) {
      if (options_.device.empty() || device.id == options_.device)
        run.environment.facts.emplace_back("device " + device.id, device.description);
    }
    return run;
  }

  void probe(const RunnablePoints& points, BenchRun& run) {
    constexpr double kProbeSeconds = 1.0;
    if (options_.no_probe) return;
    for (const measure::PointPlan& plan : points.plans) {
      const BenchPoint& p = plan.point;
      if (rates_of(run, p) != nullptr) continue;
      progress_.show(fmt::format("measuring what the device reaches in {}", p.dtype), 0.0);
      ProbeResult result{p.backend, p.device, p.dtype, all_threads(p), 0.0, 0.0};
      const backends::RunConfig run_config{
          .dtype = *parse_dtype(p.dtype), .device = p.device, .threads = result.threads};
      if (const auto rates = backend_.measure_rates(run_config, kProbeSeconds)) {
        result.read_bytes_per_second = rates->read_bytes_per_second;
        result.flops_per_second = rates->flops_per_second;
      }
      run.probes.push_back(result);
    }
  }
  // Of all ranks, which stand on one machine.
  static int all_threads(const BenchPoint& p) {
    return p.threads * static_cast<int>(parallel::workers_of(measure::run_of(p)));
  }
  static const ProbeResult* rates_of(const BenchRun& run, const BenchPoint& p) {
    const auto at = std::ranges::find_if(run.probes, [&](const ProbeResult& r) {
      return r.device == p.device && r.dtype == p.dtype && r.threads == all_threads(p);
    });
    return at == run.probes.end() ? nullptr : &*at;
  }

  std::vector<std::unique_ptr<Contender>> contenders_for(const RunnablePoints& points, Workers& workers) {
    std::vector<std::unique_ptr<Contender>> out;
    const auto load = [this, &points, &workers](const BenchPoint& point) {
      const auto at = std::ranges::find(points.plans, point, &measure::PointPlan::point);
      const std::size_t model = points.model_of[static_cast<std::size_t>(at - points.plans.begin())];
      return sweep_.models[model].load(*parse_dtype(point.dtype), false, workers);
    };
    const auto local = [&](backends::Backend& backend) {
      return std::make_unique<measure::LocalContender>(backend, points.plans, load, measure::CheckOptions{}, workers);
    };
    if (options_.against.empty() || is_library(options_.against)) {
      out.push_back(local(backend_));
      if (options_.against.empty()) return out;
      other_ = make_backend(options_.against, options_.device, options_.plugin);
      out.push_back(local(*other_));
      return out;
    }
    // Both in processes of their own, so that they differ in nothing else.
    for (const std::string& program : {std::string("/proc/self/exe"), options_.against}) {
      out.push_back(std::make_unique<measure::WorkerContender>(
          worker_command(program, options_.backend, options_.plugin, sweep_, points), points.plans.size()));
    }
    return out;
  }

  measure::MeasureOptions measure_options() {
    measure::MeasureOptions out;
    out.precision = options_.precision;
    out.max_time = options_.max_time;
    out.check = !options_.no_check;
    out.seed = options_.order_seed;
    out.interrupted = interrupted;
    out.progress = [this](const std::string& doing, double done) { progress_.show(doing, done); };
    return out;
  }

  // What was measured, what an earlier run had, and what is not supported, in the order of the sweep.
  // `measured` is in that order, too.
  std::vector<BenchRow> assemble(std::vector<BenchRow>& measured, const Resumed& resumed,
                                 const std::set<std::size_t>& whole, const BenchRun& run) {
    const std::uint64_t caches = measure::cache_bytes();
    std::vector<BenchRow> out;
    auto next = measured.begin();
    for (const PlannedRow& planned : sweep_.rows) {
      if (!ours(planned)) continue;
      BenchRow row;
      row.point = planned.point;
      row.method = backends::name(planned.method);
      row.decode = measure::decodes(planned.method);
      row.unsupported = planned.unsupported;
      if (next != measured.end() && next->point == row.point && next->method == row.method) {
        row = std::move(*next++);
        measure::complete(row, sweep_.configs[planned.model], rates_of(run, row.point), caches, run.confidence);
      } else if (whole.contains(planned.number) && row.unsupported.empty()) {
        row = *resumed.find(planned);
      } else if (row.unsupported.empty()) {
        continue;  // the run was interrupted before
      }
      out.push_back(std::move(row));
    }
    measure::add_scaling(out);
    return out;
  }

  const Options& options_;
  backends::Backend& backend_;
  std::unique_ptr<backends::Backend> other_;
  PlannedSweep sweep_;
  Shard shard_;
  Environment before_;
  ProgressLine progress_{stderr_is_terminal()};
};

// ---- results ----

void write(const std::string& where, const std::string& text) {
  if (where == "-") print(text);
  if (!where.empty() && where != "-") write_file_whole(where, text);
}

int exit_code_of(const BenchRun& run) {
  bool any = false, bad = false;
  for (const BenchRow& row : run.rows) {
    any |= row.unsupported.empty();
    bad |= !row.error.empty() || row.check == BenchCheck::failed || row.check == BenchCheck::implausible;
  }
  if (bad || run.interrupted) return 1;
  return any ? 0 : exit_code(ErrorKind::unavailable);
}

// How the ranks of split rows stand, and what of it makes their figures doubtful.
void describe_ranks(SplitBackend& split, BenchRun& run) {
  bool shared = false;
  for (BenchRow& row : run.rows) {
    for (RankTimes& rank : row.ranks) {
      const auto& infos = split.ranks(measure::run_of(row.point)).ranks();
      const parallel::RankInfo& info = infos[static_cast<std::size_t>(rank.rank)];
      rank.host = info.host;
      rank.pinned = info.pinned;
      shared |= !info.pinned;
    }
  }
  if (shared)
    run.environment.warnings.emplace_back(
        "oversubscribed: ranks share processors, of which there are fewer than ranks; figures of split rows show what "
        "is exchanged, not what machines of their own would reach");
}

int bench(const Options& options) {
  become_rank_if_given();
  check(options);
  SplitBackend split(options.backend, options.device, options.plugin);
  Bench bench(options, split.get());
  for (const PlannedRow& row : bench.planned().rows) {
    const backends::RunConfig asked = measure::run_of(row.point);
    if (parallel::workers_of(asked) > 1 && !options.against.empty())
      throw request_error("usage",
                          "--against: compares models in one piece, without --tp, --pp, --disagg and --replicas");
    if (row.unsupported.empty()) split.require(asked);
  }
  const OwnRun own_run(options.store);
  note_interruptions();
  std::vector<BenchRun> runs = bench.run();
  describe_ranks(split, runs.front());
  const BenchRun& own = runs.front();
  write(options.trace, options.trace.empty() ? "" : reports::to_chrome_trace(own));
  const std::string json = json_text(reports::to_json(own));
  write(options.json, json);
  for (std::size_t i = 0; i < kOutputs.size(); ++i) {
    if (!options.files[i].empty()) write_file_whole(options.files[i], kOutputs[i].render(own));
  }
  const bool color = use_color(options.color);
  if (options.json != "-") print(reports::to_text(own, color));
  int code = exit_code_of(own);
  if (runs.size() > 1) {
    write(options.against_json, json_text(reports::to_json(runs[1])));
    measure::CompareOptions how;
    how.floor = options.floor;
    how.paired = true;
    how.force = true;  // two builds differ in their facts; the machine is one
    BenchComparison comparison = measure::compare_runs(std::span(&runs[1], 1), std::span(&runs[0], 1), how);
    comparison.base = options.against;
    comparison.next = options.backend;
    comparison.warnings.clear();
    if (options.json != "-") print("\n" + reports::to_text(comparison, color));
    code = std::max(code, std::max(exit_code_of(runs[1]), comparison.any(Difference::slower) ? 1 : 0));
  }
  if (own.interrupted)
    fmt::print(stderr, "mlbench: interrupted; {} rows are kept{}\n", own.rows.size(),
               options.json.empty() ? "; with --json FILE a later run can go on with --resume FILE" : "");
  return own_run.store(json, code, own.started);
}

void add_output(CLI::App& command, Options& options) {
  command
      .add_option("--json", options.json,
                  "Write the result as JSON to this file; - for standard output instead of the table")
      ->type_name("FILE");
  command
      .add_option(
          "--trace", options.trace,
          "Write what the ranks of split rows did when in their last repetition to this file, as Chrome's trace "
          "events (chrome://tracing, Perfetto)")
      ->type_name("FILE");
  for (std::size_t i = 0; i < kOutputs.size(); ++i) {
    command.add_option(kOutputs[i].option, options.files[i], fmt::format("Write {} to this file", kOutputs[i].what))
        ->type_name("FILE");
  }
  command.add_option("--color", options.color, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
}

}  // namespace

void add_bench_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("bench", "Measure prefill and decode throughput of a backend");
  options->sweep.add_to(*command);
  command->add_option(
      "--backend", options->backend,
      "What is measured: cpu (mlbench list backends), or the path of a library; without --predict it is "
      "required");
  options->plugin.add_to(*command);
  command->add_option("--device", options->device, "Device of the backend (mlbench list devices)");
  command
      ->add_option("--precision", options->precision,
                   "Repeat until the 95% interval of the median is within this share of it on either side")
      ->capture_default_str();
  command->add_option("--max-time", options->max_time, "Or until a point has taken so many seconds, after its warm-up")
      ->capture_default_str();
  command->add_flag("--no-check", options->no_check,
                    "Do not check the outputs of timed runs; every result is then marked unchecked");
  command->add_flag("--no-probe", options->no_probe,
                    "Do not measure what the device reaches; no MFU, no MBU, no floor");
  command->add_option("--order-seed", options->order_seed, "Seed of the random order of repetitions")
      ->capture_default_str();
  command
      ->add_option("--resume", options->resume,
                   "Take rows that are whole from this earlier result (--json), run the others")
      ->type_name("FILE");
  command->add_option("--shard", options->shard, "Only every N-th point, from the I-th on")->type_name("I/N");
  command
      ->add_option("--against", options->against,
                   "Another mlbench, or another backend's library, that runs every repetition beside this one; exit 1 "
                   "where this one is slower")
      ->type_name("PROGRAM|LIBRARY");
  command->add_option("--against-json", options->against_json, "Write the other's result to this file")
      ->type_name("FILE");
  command->add_option("--floor", options->floor, "With --against: the smallest change of a median that matters")
      ->check(CLI::Range(0.0, 0.5))
      ->capture_default_str();
  add_output(*command, *options);
  options->store.add_to(*command);
  options->predict.add_to(*command);
  command->footer(
      "Exit codes: 0 measured and right, 1 a wrong or impossible result, a regression, or interrupted, 2 the request "
      "is\n"
      "wrong, 3 the backend is not there or supports nothing of what was asked, 4 the named store could not keep the "
      "run.\n"
      "Example: mlbench bench --arch llama --backend cpu --prompt 64,128 --gen 16 --batch 1,2 --dtype f32,bf16\n"
      "         mlbench bench --predict --cluster docs/examples/eight-nodes.json --preset llama-2-70b --dtype bf16 "
      "--tp 1,8 --pp 1,8");
  command->callback([options, command, &action] {
    if (!options->predict.asked() && options->backend.empty()) throw CLI::RequiredError("--backend");
    action = [options, command] {
      if (!options->predict.asked()) return bench(*options);
      options->predict.refuse_others(*command);
      return options->predict.run(options->sweep, options->json, use_color(options->color));
    };
  });
}

}  // namespace mlbench::cli
