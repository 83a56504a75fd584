// mlbench golden diff: two goldens against each other.
#include "golden/golden_diff.h"

#include <cmath>
#include <memory>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/golden.h"
#include "core/error.h"
#include "reports/table.h"

namespace mlbench::cli {
namespace {

using golden::DatasetDiff;
using golden::Difference;
using golden::GoldenDiff;
using nlohmann::ordered_json;
using reports::Align;

constexpr std::size_t kMaxRows = 20;

struct Options {
  std::string a, b;
  std::optional<double> rtol;
  bool json = false;
};

bool is_equal(const DatasetDiff& diff) {
  return diff.difference == Difference::none || diff.difference == Difference::within;
}

bool has_values(const DatasetDiff& diff) { return diff.difference <= Difference::values; }

std::string attributes_text(const GoldenDiff& diff) {
  if (diff.attributes.empty()) return "";
  reports::Table table({{"attribute", Align::left}, {"A", Align::left}, {"B", Align::left}});
  for (std::size_t i = 0; i < std::min(kMaxRows, diff.attributes.size()); ++i) {
    const golden::AttributeDiff& entry = diff.attributes[i];
    const std::string object = entry.object == "/" ? "" : entry.object + " ";
    table.add({cell_text(object + entry.name), cell_text(entry.a.value_or("(none)"), 40),
               cell_text(entry.b.value_or("(none)"), 40)});
  }
  std::string text = table.text();
  if (diff.attributes.size() > kMaxRows)
    text += fmt::format("... and {} more attributes\n", diff.attributes.size() - kMaxRows);
  return text + "\n";
}

std::string datasets_text(const GoldenDiff& diff) {
  reports::Table table({{"dataset", Align::left},
                        {"difference", Align::left},
                        {"max |A - B|", Align::right},
                        {"max |A|", Align::right},
                        {"ratio", Align::right}});
  std::size_t differing = 0;
  for (const DatasetDiff& d : diff.datasets) {
    if (is_equal(d) || ++differing > kMaxRows) continue;
    std::string what(name(d.difference));
    if (d.difference == Difference::shape) what = fmt::format("{} and {}", to_string(d.shape_a), to_string(d.shape_b));
    if (d.difference == Difference::kind) what = "not numbers of one kind";
    const auto number = [&](double value) { return has_values(d) ? fmt::format("{:.3g}", value) : ""; };
    table.add({cell_text(d.path), what, number(d.max_difference), number(d.max_a), number(d.relative())});
  }
  if (differing == 0) return "";
  std::string text = table.text();
  if (differing > kMaxRows) text += fmt::format("... and {} more datasets\n", differing - kMaxRows);
  return text + "\n";
}

std::string summary(const GoldenDiff& diff, std::optional<double> rtol) {
  const std::size_t same = diff.count(Difference::none);
  const std::size_t within = diff.count(Difference::within);
  std::string text = fmt::format("{} of {} datasets are equal bit for bit", same, diff.datasets.size());
  if (rtol) text += fmt::format(", {} more within {:g} * max|A|", within, *rtol);
  return text + fmt::format(", {} differ\n", diff.datasets.size() - same - within);
}

ordered_json optional_text(const std::optional<std::string>& text) {
  return text ? ordered_json(*text) : ordered_json(nullptr);
}

std::string json_text(const GoldenDiff& diff, const Options& options) {
  ordered_json datasets = ordered_json::array();
  for (const DatasetDiff& d : diff.datasets) {
    if (d.difference == Difference::none) continue;
    ordered_json entry{{"dataset", d.path}, {"difference", name(d.difference)}};
    if (d.difference != Difference::only_b) entry["shape_a"] = d.shape_a;
    if (d.difference != Difference::only_a) entry["shape_b"] = d.shape_b;
    if (has_values(d)) {  // infinities become null
      entry["max_difference"] = d.max_difference;
      entry["max_a"] = d.max_a;
      entry["ratio"] = d.relative();
    }
    datasets.push_back(std::move(entry));
  }
  ordered_json attributes = ordered_json::array();
  for (const golden::AttributeDiff& entry : diff.attributes) {
    attributes.push_back(
        {{"object", entry.object}, {"name", entry.name}, {"a", optional_text(entry.a)}, {"b", optional_text(entry.b)}});
  }
  const ordered_json all{{"a", options.a},
                         {"b", options.b},
                         {"rtol", options.rtol ? ordered_json(*options.rtol) : ordered_json(nullptr)},
                         {"equal", diff.equal()},
                         {"datasets",
                          {{"total", diff.datasets.size()},
                           {"equal", diff.count(Difference::none)},
                           {"within", diff.count(Difference::within)}}},
                         {"differences", std::move(datasets)},
                         {"attributes", std::move(attributes)}};
  return cli::json_text(all);
}

int run(const Options& options) {
  if (options.rtol && !(std::isfinite(*options.rtol) && *options.rtol >= 0.0))
    throw request_error("usage", "--rtol: must be a number >= 0");
  golden::GoldenFile a(options.a);
  golden::GoldenFile b(options.b);
  const GoldenDiff diff = golden::diff_goldens(a, b, options.rtol);
  print(options.json ? json_text(diff, options)
                     : attributes_text(diff) + datasets_text(diff) + summary(diff, options.rtol));
  return diff.equal() ? 0 : 1;
}

}  // namespace

void add_golden_diff(CLI::App& golden, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = golden.add_subcommand("diff", "Compare the datasets of two goldens, of any layout");
  command->add_option("A", options->a, "HDF5 file")->required();
  command->add_option("B", options->b, "HDF5 file")->required();
  command->add_option("--rtol", options->rtol,
                      "Let floating-point values differ by this times the dataset's max|A|; without it by not a bit");
  command->add_flag("--json", options->json, "As JSON, for programs");
  command->footer(
      "Attributes that differ are listed and do not count: they tell where values come from.\n"
      "Exit codes: 0 all datasets are equal, 1 some differ, 2 a file is wrong.\n"
      "Example: mlbench golden diff one.h5 two.h5 --rtol 1e-12");
  command->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace mlbench::cli
