#include "cli/bench_options.h"

#include <algorithm>
#include <map>
#include <tuple>

#include <fmt/format.h>

#include "cli/plan_options.h"
#include "core/error.h"
#include "core/file_map.h"
#include "harness/measure/local_contender.h"
#include "harness/memory.h"
#include "harness/plan.h"
#include "models/parallel_rules.h"
#include "models/tensor_inventory.h"

namespace mlbench::cli {

using measure::Axes;

namespace {

constexpr std::size_t kLargestSweepFile = std::size_t{1} << 20U;
constexpr Index kMostTokens = Index{1} << 24U;

backends::Method require_method(const std::string& text) {
  const auto method = backends::parse_method(text);
  if (!method)
    throw request_error("usage", fmt::format("--method {}: is none (mlbench list methods)", in_quotes(text)));
  return *method;
}

std::uint64_t bytes_of_weights(const ModelConfig& config, DType dtype) {
  std::uint64_t values = 0;
  const auto add = [&](const std::vector<TensorSpec>& specs) {
    for (const TensorSpec& spec : specs) {
      std::uint64_t size = 1;
      for (const Index extent : spec.shape) size *= static_cast<std::uint64_t>(extent);
      values += size;
    }
  };
  add(global_tensors(config));
  for (Index layer = 0; layer < config.num_layers; ++layer) add(layer_tensors(config, layer));
  return values * size_bytes(dtype);
}

}  // namespace

std::string why_too_long(const BenchPoint& point, const ModelConfig& config) {
  const Index length = point.depth + point.prompt + point.gen, most = harness::longest_sequence(config);
  if (length <= most) return "";
  return fmt::format("{} tokens of a sequence: the model has positions for {}", length, most);
}

void SweepOptions::add_to(CLI::App& command) {
  model_.add_to(command, true);
  command
      .add_option("--sweep", file_,
                  "Axes and models from a JSON file, as bench/sweeps/smoke.json; options replace its axes")
      ->type_name("FILE");
  command.add_option("--dtype", dtypes_, "Storage types, separated by commas: f64, f32, bf16, f16; default f32")
      ->delimiter(',')
      ->type_name("TYPE");
  add_numbers(command, "--prompt", axes_.prompt, 0, kMostTokens,
              "Tokens of each sequence that prefill takes; default 512");
  add_numbers(command, "--gen", axes_.gen, 0, kMostTokens, "Tokens of each that are decoded after it; default 64");
  add_numbers(command, "--batch", axes_.batch, 1, 65536, "Sequences; default 1");
  add_numbers(command, "--threads", axes_.threads, 1, 1024, "Threads of a backend on the processor; default all");
  add_numbers(command, "--depth", axes_.depth, 0, kMostTokens,
              "Tokens of each that stand in the cache before; default 0");
  add_numbers(command, "--page-size", axes_.page_size, 1, 65536, "Tokens of a page of the cache; default 16");
  parallel_.add_to(command);
  command
      .add_option("--method", methods_,
                  "Methods to time (mlbench list methods), separated by commas; default prefill and decode, batched "
                  "where there are several sequences")
      ->delimiter(',')
      ->type_name("METHOD");
}

Axes SweepOptions::axes() const {
  Axes axes;
  if (!file_.empty()) axes = measure::read_sweep(read_text_file(file_, kLargestSweepFile), file_).axes;
  Axes own = axes_;
  own.tensor_parallel = parallel_.tensor_parallel;
  own.pipeline_parallel = parallel_.pipeline_parallel;
  own.replicas = parallel_.replicas;
  if (parallel_.disaggregated) own.disaggregated = {0, 1};
  for (const std::string& text : dtypes_) own.dtypes.push_back(require_dtype(text));
  for (const std::string& text : methods_) own.methods.push_back(require_method(text));
  axes.override_by(own);
  return axes;
}

std::vector<ModelOptions> SweepOptions::models() const {
  if (model_.given()) return model_.each();
  if (file_.empty())
    throw request_error("usage", "bench: name a model with --model DIR, --arch A or --preset P, or a --sweep FILE");
  std::vector<ModelOptions> out;
  for (const auto& [arch, preset, folder] : measure::read_sweep(read_text_file(file_, kLargestSweepFile), file_).models)
    out.push_back(model_.of(arch, preset, folder));
  if (out.empty()) throw request_error("usage", fmt::format("{}: names no models, and no option does", file_));
  return out;
}

PlannedSweep plan_sweep(const SweepOptions& options, const backends::Backend& backend, const std::string& device,
                        int threads) {
  if (device == backends::kHostExecutor) {
    throw request_error(
        "bench.host_executor",
        fmt::format("--device {}: kernels are executed on this machine's processor to be checked, their "
                    "speed is that of no device; bench takes those of mlbench list devices but this",
                    device));
  }
  PlannedSweep out;
  out.models = options.models();
  const Axes axes = options.axes();
  std::size_t number = 0;
  for (std::size_t m = 0; m < out.models.size(); ++m) {
    const ModelConfig& config = out.configs.emplace_back(out.models[m].config());
    BenchPoint fixed;
    fixed.model = out.models[m].description();
    fixed.architecture = name(config.architecture);
    fixed.backend = backend.name();
    fixed.device = device;
    for (const BenchPoint& point : measure::points_of(axes, fixed, threads)) {
      std::string reason = why_too_long(point, config);
      if (const auto support = backend.supports(config, measure::run_of(point)); reason.empty() && !support)
        reason = support.reason;
      for (const backends::Method method : measure::methods_of(axes, point)) {
        out.rows.push_back({m, number, point, method, reason.empty() ? measure::why_not(method, point) : reason});
      }
      ++number;
    }
  }
  if (out.rows.empty()) throw request_error("usage", "bench: nothing to measure: prompt and gen are 0 everywhere");
  // Of several splits, those that the model does not allow are listed as such; where no other was asked for, it is an
  // error.
  std::optional<Error> illegal;
  for (const PlannedRow& row : out.rows) {
    const Split split{row.point.tensor_parallel, row.point.pipeline_parallel};
    illegal = why_not(out.configs[row.model], split, row.point.model);
    if (!illegal) return out;
  }
  if (illegal) throw Error(*illegal);
  return out;
}

RunnablePoints runnable(const PlannedSweep& sweep, const std::vector<bool>& done) {
  RunnablePoints out;
  for (std::size_t r = 0; r < sweep.rows.size(); ++r) {
    const PlannedRow& row = sweep.rows[r];
    if (done[r] || !row.unsupported.empty()) continue;
    if (out.plans.empty() || out.plans.back().point != row.point) {
      out.plans.push_back({row.point, {}});
      out.model_of.push_back(row.model);
    }
    out.plans.back().methods.push_back(row.method);
  }
  return out;
}

std::vector<std::vector<std::size_t>> groups_of(const PlannedSweep& sweep, const RunnablePoints& points,
                                                const backends::Backend& backend) {
  std::map<std::tuple<std::size_t, std::string, int>, std::vector<std::size_t>> by_session;
  std::map<std::tuple<std::size_t, std::string, int>, std::uint64_t> bytes;
  std::vector<std::size_t> all;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < points.plans.size(); ++i) {
    const BenchPoint& point = points.plans[i].point;
    const ModelConfig& config = sweep.configs[points.model_of[i]];
    const auto key = std::tuple(points.model_of[i], point.dtype, point.threads);
    const auto memory = backend.memory(config, measure::run_of(point), measure::Testbed::limits_of(point));
    std::uint64_t needed = memory.cache_bytes + memory.scratch_bytes;
    // The first point of a session brings its weights, and the model's own copy of them.
    if (!by_session.contains(key)) needed += memory.weights_bytes + bytes_of_weights(config, *parse_dtype(point.dtype));
    by_session[key].push_back(i);
    bytes[key] += needed;
    sum += needed;
    all.push_back(i);
  }
  const std::uint64_t available = harness::available_memory_bytes();
  if (available == 0 || sum <= available) return {all};
  std::vector<std::vector<std::size_t>> out;
  for (const auto& [key, group] : by_session) {
    harness::require_memory(bytes[key], points.plans[group.front()].point.model);
    out.push_back(group);
  }
  return out;
}

}  // namespace mlbench::cli
