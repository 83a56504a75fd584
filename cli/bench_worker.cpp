#include "cli/bench_worker.h"

#include <csignal>
#include <iostream>
#include <map>

#include <fmt/format.h>

#include "cli/version.h"
#include "core/error.h"
#include "core/json.h"
#include "harness/measure/local_contender.h"
#include "harness/measure/worker.h"
#include "reports/bench_report.h"

namespace mlbench::cli {

using nlohmann::json;

namespace {

json to_json(const measure::PointPlan& plan) {
  json methods = json::array();
  for (const backends::Method method : plan.methods) methods.push_back(backends::name(method));
  return {{"point", reports::to_json(plan.point)}, {"methods", methods}};
}

measure::PointPlan plan_from(const json& from) {
  measure::PointPlan out{reports::point_from_json(from.at("point"), "the job"), {}};
  for (const json& method : from.at("methods")) {
    const auto parsed = backends::parse_method(method.get<std::string>());
    if (!parsed) throw request_error("bench.worker", fmt::format("no method is called {}", shown(method)));
    out.methods.push_back(*parsed);
  }
  if (!parse_dtype(out.point.dtype))
    throw request_error("bench.worker", fmt::format("no type is called {}", in_quotes(out.point.dtype)));
  return out;
}

// Models by their description, from the options that name them.
std::map<std::string, ModelOptions> models_from(const json& options) {
  std::map<std::string, ModelOptions> out;
  for (const json& words : options) {
    CLI::App parser;
    ModelOptions model;
    model.add_to(parser);
    parser.parse(words.get<std::string>());
    out.emplace(model.description(), model);
  }
  return out;
}

struct Options {
  std::string backend, job;
  PluginOptions plugin;
};

int work(const Options& options) {
  (void)std::signal(SIGINT, SIG_IGN);  // of the terminal; the program that asks decides
  std::vector<measure::PointPlan> points;
  std::map<std::string, ModelOptions> models;
  try {
    const json job = json::parse(options.job);
    models = models_from(job.at("models"));
    for (const json& point : job.at("points")) points.push_back(plan_from(point));
  } catch (const json::exception& error) {
    throw request_error("bench.worker", fmt::format("the job: {}", error.what()));
  } catch (const CLI::Error& error) {
    throw request_error("bench.worker", fmt::format("the job's models: {}", error.what()));
  }
  const auto backend = make_backend(options.backend, "", options.plugin);
  Workers workers(Workers::hardware());
  const auto load = [&](const BenchPoint& point) {
    return models.at(point.model).load(*parse_dtype(point.dtype), false, workers);
  };
  measure::LocalContender contender(*backend, points, load, {}, workers);
  measure::serve(contender, points.size(), program_version(), std::cin, std::cout);
  return 0;
}

}  // namespace

std::vector<std::string> worker_command(const std::string& program, const std::string& backend,
                                        const PluginOptions& plugin, const PlannedSweep& sweep,
                                        const RunnablePoints& points) {
  json job = {{"models", json::array()}, {"points", json::array()}};
  for (const ModelOptions& model : sweep.models) job["models"].push_back(model.command_line());
  for (const measure::PointPlan& plan : points.plans) job["points"].push_back(to_json(plan));
  std::vector<std::string> command = {program, "bench-worker", "--backend", backend, "--job", job.dump()};
  for (const std::string& word : plugin.words()) command.push_back(word);
  return command;
}

void add_bench_worker_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("bench-worker", "Runs points for another mlbench; started by it");
  command->group("");  // in no listing
  command->add_option("--backend", options->backend)->required();
  command->add_option("--job", options->job)->required();
  options->plugin.add_to(*command);
  command->callback([options, &action] { action = [options] { return work(*options); }; });
}

}  // namespace mlbench::cli
