// What share of the machine's limits prefill and decode of the CPU backend reach: each round measures what the device
// reaches, then a prefill and a decode, so that a ratio is made of neighbours. The device's rates are the best that a
// probe of the same round saw, not its average. docs/performance.md shows the command and its figures.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "backends/cpu/cpu_backend.h"
#include "core/error.h"
#include "harness/measure/cost.h"
#include "harness/measure/statistics.h"
#include "harness/measure/testbed.h"
#include "harness/memory.h"
#include "models/presets.h"
#include "models/synthetic.h"

namespace mlbench::measure {
namespace {

using backends::Method;

struct Options {
  std::vector<std::string> presets = {"tinyllama-1.1b"};
  std::vector<std::string> dtypes = {"bf16", "f32", "f16"};
  std::vector<int> threads = {1};
  Index prompt = 512, gen = 16, depth = 0, batch = 1, layers = 0;
  int rounds = 7;
  double probe_seconds = 0.3;
};

// Prefill and decode of one point, as tokens each second and as shares.
struct Shares {
  std::vector<double> prefill, decode, prefill_share, decode_share;
};

std::string median_and_range(const std::vector<double>& values, double scale, int digits) {
  const auto [least, most] = std::ranges::minmax(values);
  return fmt::format("{:.{}f} ({:.{}f} to {:.{}f})", scale * median(values), digits, scale * least, digits,
                     scale * most, digits);
}

Shares measure_shares(const Model& model, const BenchPoint& point, const Options& options) {
  const auto backend = cpu::make_cpu_backend();
  const DType dtype = *parse_dtype(point.dtype);
  const backends::RunConfig run{.dtype = dtype, .threads = point.threads};
  const auto session = backend->load(model, run);
  Testbed bed(*session, model.config, point, {Method::batch_prefill, Method::batch_decode}, 1);
  const CallCost prompt =
      cost_of(model.config, dtype,
              {.batch = point.batch, .rows = point.prompt, .before = point.depth, .logit_rows = point.batch});
  CallCost steps;
  for (Index i = 0; i < point.gen; ++i)
    steps +=
        cost_of(model.config, dtype,
                {.batch = point.batch, .rows = 1, .before = point.depth + point.prompt + i, .logit_rows = point.batch});
  (void)bed.repeat();  // warms up
  Shares shares;
  for (int round = 0; round < options.rounds; ++round) {
    const auto rates = backend->measure_rates(run, options.probe_seconds);
    const ProbeResult probe{
        "cpu", "cpu", point.dtype, point.threads, rates->read_bytes_per_second, rates->flops_per_second};
    const std::vector<TimedMethod> times = bed.repeat();
    const auto tokens = [&](Index each, double seconds) { return static_cast<double>(point.batch * each) / seconds; };
    shares.prefill.push_back(tokens(point.prompt, times[0].seconds));
    shares.decode.push_back(tokens(point.gen, times[1].seconds));
    shares.prefill_share.push_back(*flops_share(prompt, probe, times[0].seconds));
    shares.decode_share.push_back(*bytes_share(steps, probe, times[1].seconds));
  }
  return shares;
}

void run(const Options& options) {
  fmt::print("{} rounds, prompt {}, gen {}, depth {}, batch {}; medians and ranges\n\n", options.rounds, options.prompt,
             options.gen, options.depth, options.batch);
  fmt::print(
      "| model | type | threads | prefill, tokens/s | of the product rate | decode, tokens/s | of the bandwidth | "
      "peak memory |\n|---|---|---|---|---|---|---|---|\n");
  Workers workers(Workers::hardware());
  for (const std::string& preset : options.presets) {
    nlohmann::json overrides = nlohmann::json::object();
    if (options.layers > 0) overrides["num_hidden_layers"] = options.layers;
    const ModelConfig config = preset_config(preset, overrides);
    for (const std::string& dtype : options.dtypes) {
      if (!parse_dtype(dtype)) throw request_error("usage", fmt::format("dtype {}: expected f32, bf16 or f16", dtype));
      const Model model = make_synthetic(config, *parse_dtype(dtype), 1, workers);
      for (const int threads : options.threads) {
        BenchPoint point;
        point.dtype = dtype;
        point.threads = threads;
        point.batch = options.batch;
        point.prompt = options.prompt;
        point.gen = options.gen;
        point.depth = options.depth;
        point.page_size = 16;
        const Shares s = measure_shares(model, point, options);
        fmt::print("| {} | {} | {} | {} | {}% | {} | {}% | {:.2f} GiB |\n", preset, dtype, threads,
                   median_and_range(s.prefill, 1.0, 1), median_and_range(s.prefill_share, 100.0, 0),
                   median_and_range(s.decode, 1.0, 2), median_and_range(s.decode_share, 100.0, 0),
                   static_cast<double>(harness::peak_memory_bytes()) / 0x1p30);
      }
    }
  }
}

}  // namespace
}  // namespace mlbench::measure

int main(int argc, char** argv) {
  CLI::App app("Shares of the machine's limits that the CPU backend reaches", "cpu_limits");
  mlbench::measure::Options options;
  app.add_option("--preset", options.presets, "Presets")->delimiter(',')->capture_default_str();
  app.add_option("--dtype", options.dtypes, "Storage types")->delimiter(',')->capture_default_str();
  app.add_option("--threads", options.threads, "Threads")->delimiter(',')->capture_default_str();
  app.add_option("--prompt", options.prompt, "Tokens of a prompt")->capture_default_str();
  app.add_option("--gen", options.gen, "Tokens that are decoded")->capture_default_str();
  app.add_option("--depth", options.depth, "Tokens that stand in the cache before")->capture_default_str();
  app.add_option("--batch", options.batch, "Sequences")->capture_default_str();
  app.add_option("--layers", options.layers, "Layers, in place of the preset's; 0: the preset's")
      ->capture_default_str();
  app.add_option("--rounds", options.rounds, "Rounds")->check(CLI::Range(3, 1000))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    mlbench::measure::run(options);
  } catch (const mlbench::Error& error) {
    fmt::print(stderr, "cpu_limits: {}: {}\n", error.code(), error.message());
    return 2;
  }
  return 0;
}
