#include "cli/bench_predict.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/parallel_options.h"
#include "core/error.h"
#include "core/file_map.h"
#include "harness/measure/cluster.h"
#include "harness/measure/predict.h"
#include "models/parallel_rules.h"
#include "reports/bench_report.h"
#include "reports/prediction_report.h"

namespace mlbench::cli {
namespace {

constexpr std::size_t kLargestFile = std::size_t{1} << 20U;
constexpr Index kMost = 65536;

constexpr std::array kTaken = {"--arch",  "--preset",    "--model",   "--set",      "--seed",
                               "--sweep", "--dtype",     "--batch",   "--prompt",   "--gen",
                               "--depth", "--page-size", "--tp",      "--pp",       "--json",
                               "--color", "--predict",   "--cluster", "--replicas", "--micro-batches"};

Cluster read_cluster_file(const std::string& path) {
  return measure::read_cluster(read_text_file(path, kLargestFile), path, [](const std::string& probe) {
    return reports::read_probes(read_text_file(probe, kLargestFile), probe);
  });
}

// What stands against a point on that cluster.
std::optional<Error> refusal(const Cluster& cluster, const ModelConfig& config, const BenchPoint& point) {
  const Split split = measure::split_of(point);
  if (auto error = mlbench::why_not(config, split, point.model)) return error;
  if (auto error = measure::why_not(cluster, split, point.replicas)) return error;
  if (const std::string reason = why_too_long(point, config); !reason.empty())
    return request_error("input.position_range", fmt::format("{}: {}", one_line(point.model), reason));
  return std::nullopt;
}

Prediction predict_all(const SweepOptions& sweep, const std::string& cluster_file, Index micro_batches) {
  Prediction out;
  out.command = own_command_line();
  out.cluster_file = cluster_file;
  out.cluster = read_cluster_file(cluster_file);
  measure::Axes axes = sweep.axes();
  axes.threads = {0};
  for (const ModelOptions& model : sweep.models()) {
    const ModelConfig config = model.config();
    BenchPoint fixed;
    fixed.model = model.description();
    fixed.architecture = name(config.architecture);
    for (const BenchPoint& point : measure::points_of(axes, fixed, 0)) {
      const ProbeResult& rates = measure::rates_of(out.cluster, *parse_dtype(point.dtype), cluster_file);
      if (const auto error = refusal(out.cluster, config, point)) {
        const NotOffered refused{error->code(), error->message()};
        if (std::ranges::find(out.not_offered, refused) == out.not_offered.end()) out.not_offered.push_back(refused);
        continue;
      }
      const auto rows = measure::predict(out.cluster, rates, config, point, micro_batches);
      out.rows.insert(out.rows.end(), rows.begin(), rows.end());
    }
  }
  return out;
}

}  // namespace

void PredictCommand::add_to(CLI::App& command) {
  auto* predict =
      command.add_flag("--predict", asked_,
                       "Run nothing: predict what --tp shards times --pp stages of the model would reach on "
                       "the cluster of --cluster (docs/scaling.md)");
  command.add_option("--cluster", cluster_, "With --predict: the JSON file that describes the cluster")
      ->needs(predict)
      ->type_name("FILE");
  command
      .add_option("--micro-batches", micro_batches_,
                  "With --predict: pieces of a call that pass through the stages; default: as many as are the quickest")
      ->needs(predict)
      ->check(CLI::Range(Index{1}, kMost))
      ->type_name("N");
}

void PredictCommand::refuse_others(const CLI::App& command) const {
  for (const CLI::Option* option : command.get_options()) {
    const std::string name = option->get_name();
    if (option->count() > 0 && std::ranges::find(kTaken, name) == kTaken.end())
      throw request_error("usage", fmt::format("{}: has no place beside --predict, which runs nothing", name));
  }
  if (cluster_.empty()) throw request_error("usage", "--predict: needs --cluster FILE");
}

int PredictCommand::run(const SweepOptions& sweep, const std::string& json, bool color) const {
  if (!json.empty() && json != "-") require_writable(json);
  const Prediction prediction = predict_all(sweep, cluster_, micro_batches_);
  if (prediction.rows.empty()) {
    if (prediction.not_offered.empty())
      throw request_error("usage", "bench: nothing to predict: prompt and gen are 0 everywhere");
    throw request_error(prediction.not_offered.front().code, prediction.not_offered.front().reason);
  }
  const std::string text = json_text(reports::to_json(prediction));
  if (!json.empty() && json != "-") write_file_whole(json, text);
  print(json == "-" ? text : reports::to_text(prediction, color));
  return 0;
}

}  // namespace mlbench::cli
