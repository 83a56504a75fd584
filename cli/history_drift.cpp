// mlbench history drift: error / limit of a backend's taps over its runs.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "cli/history.h"
#include "cli/store_options.h"
#include "core/error.h"
#include "reports/figures.h"
#include "reports/table.h"

namespace mlbench::cli {
namespace {

using nlohmann::ordered_json;
using reports::Align;
using reports::RunHead;
using reports::RunId;
using reports::Store;
using reports::StoredTap;
using reports::StoredVerification;
using reports::Table;

struct Options {
  std::string store;
  RunFilterOptions filter;
  std::string tap, mode = "isolated";
  std::size_t columns = 8;
  bool layers = false, json = false;
};

// One line of a table: a tap, or a tap in one layer.
struct Line {
  std::string kind;
  Index layer = -1;
  std::map<RunId, StoredTap> worst;

  void add(const StoredTap& tap) {
    const auto [at, fresh] = worst.try_emplace(tap.run, tap);
    if (!fresh && tap.ratio > at->second.ratio) at->second = tap;
  }
  [[nodiscard]] std::optional<double> ratio(RunId run) const {
    const auto at = worst.find(run);
    return at == worst.end() ? std::nullopt : std::optional(at->second.ratio);
  }
};

// What is comparable: the same model on the same backend and device in the same type.
struct Series {
  std::string subject;
  std::vector<RunId> runs;  // by time
  std::vector<Line> lines;  // in the order of computation

  Line& line(const std::string& kind, Index layer) {
    const auto at = std::ranges::find_if(lines, [&](const Line& l) { return l.kind == kind && l.layer == layer; });
    return at != lines.end() ? *at : lines.emplace_back(Line{kind, layer, {}});
  }
};

// Whether the part itself is what the filter asks for, not another one of its run.
bool is_meant(const StoredVerification& v, const reports::RunFilter& f) {
  const auto agree = [](const std::string& wanted, const std::string& is) { return wanted.empty() || wanted == is; };
  return agree(f.backend, v.backend) && agree(f.architecture, v.architecture) && agree(f.model, v.model) &&
         agree(f.dtype, v.dtype) && agree(f.device, v.device);
}

std::vector<Series> all_series(const Store& store, const Options& options) {
  reports::RunFilter filter = options.filter.filter();
  filter.kind = reports::StoredKind::verification;
  std::vector<Series> out;
  std::map<std::pair<RunId, Index>, std::size_t> series_of;
  Index part = 0;
  RunId run = 0;
  for (const StoredVerification& v : store.verifications(filter)) {
    part = v.run == run ? part + 1 : 0;
    run = v.run;
    if (!is_meant(v, filter)) continue;
    const std::string subject = subject_of(v);
    auto at = std::ranges::find(out, subject, &Series::subject);
    if (at == out.end()) at = out.insert(out.end(), Series{subject, {}, {}});
    if (at->runs.empty() || at->runs.back() != run) at->runs.push_back(run);
    series_of[{run, part}] = static_cast<std::size_t>(at - out.begin());
  }
  for (const StoredTap& tap : store.taps(filter)) {
    const auto at = series_of.find({tap.run, tap.part});
    if (at == series_of.end() || tap.mode != options.mode || (!options.tap.empty() && tap.kind != options.tap))
      continue;
    out[at->second].line(tap.kind, options.layers ? tap.layer : -1).add(tap);
  }
  std::erase_if(out, [](const Series& series) { return series.lines.empty(); });
  return out;
}

// The newest value beside the median of those before it; nothing where there is no such.
std::optional<double> change_of(const Line& line, const std::vector<RunId>& runs) {
  std::vector<double> values;
  for (const RunId run : runs) {
    if (const auto ratio = line.ratio(run)) values.push_back(*ratio);
  }
  if (values.size() < 2 || !line.ratio(runs.back())) return std::nullopt;
  const double newest = values.back();
  values.pop_back();
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2.0;
  if (newest == median) return 1.0;
  return median == 0.0 || !std::isfinite(median) ? std::nullopt : std::optional(newest / median);
}

std::string table_of(const Series& series, const Options& options) {
  const std::size_t shown = std::min(options.columns, series.runs.size());
  const std::vector<RunId> runs(series.runs.end() - static_cast<std::ptrdiff_t>(shown), series.runs.end());
  std::vector<Table::Column> columns{{"tap", Align::left}};
  if (options.layers) columns.push_back({"layer", Align::right});
  for (const RunId run : runs) columns.push_back({fmt::format("run {}", run), Align::right});
  columns.push_back({"newest / median before", Align::right});
  Table table(columns);
  for (const Line& line : series.lines) {
    std::vector<std::string> cells{one_line(line.kind)};
    if (options.layers) cells.push_back(line.layer < 0 ? "-" : fmt::format("{}", line.layer));
    for (const RunId run : runs) cells.push_back(figure_text(line.ratio(run)));
    cells.push_back(figure_text(change_of(line, series.runs)));
    table.add(std::move(cells));
  }
  return fmt::format("{}, {}: largest error / limit{}\n", series.subject, options.mode,
                     series.runs.size() > shown
                         ? fmt::format(", the last {} of {}", shown, runs_text(series.runs.size()))
                         : "") +
         table.text() + "\n";
}

std::string runs_table(const std::vector<RunHead>& heads, const std::vector<Series>& all) {
  Table table({{"run", Align::right},
               {"started (UTC)", Align::left},
               {"revision", Align::left},
               {"branch", Align::left},
               {"verdict", Align::left}});
  for (const RunHead& head : heads) {
    const bool used =
        std::ranges::any_of(all, [&](const Series& s) { return std::ranges::find(s.runs, head.id) != s.runs.end(); });
    if (used)
      table.add({fmt::format("{}", head.id), head.started, head.revision.empty() ? "-" : short_revision(head.revision),
                 head.branch.empty() ? "-" : one_line(head.branch), head.verdict});
  }
  return table.text();
}

ordered_json json_of(const Series& series, const Options& options) {
  ordered_json taps = ordered_json::array();
  for (const Line& line : series.lines) {
    ordered_json runs = ordered_json::array();
    for (const auto& [run, tap] : line.worst) {
      runs.push_back({{"run", run},
                      {"layer", tap.layer < 0 ? ordered_json(nullptr) : ordered_json(tap.layer)},
                      {"ratio", figure_json(tap.ratio)},
                      {"error", figure_json(tap.error)},
                      {"limit", figure_json(tap.limit)},
                      {"failed", tap.failed}});
    }
    taps.push_back(
        {{"tap", line.kind}, {"change", figure_json(change_of(line, series.runs))}, {"runs", std::move(runs)}});
  }
  return {{"subject", series.subject}, {"mode", options.mode}, {"runs", series.runs}, {"taps", std::move(taps)}};
}

int drift(const Options& options) {
  const Store store = open_store(options.store, Store::Access::read);
  const std::vector<Series> all = all_series(store, options);
  reports::RunFilter filter = options.filter.filter();
  filter.kind = reports::StoredKind::verification;
  const std::vector<RunHead> heads = store.runs(filter);
  if (options.json) {
    ordered_json series = ordered_json::array();
    for (const Series& one : all) series.push_back(json_of(one, options));
    ordered_json runs = ordered_json::array();
    for (const RunHead& head : heads) runs.push_back(head_json(head));
    print(json_text({{"series", std::move(series)}, {"runs", std::move(runs)}}));
    return 0;
  }
  std::string out;
  for (const Series& one : all) out += table_of(one, options);
  print(all.empty() ? "no verification with such taps\n" : out + runs_table(heads, all));
  return 0;
}

}  // namespace

void add_history_drift(CLI::App& history, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      history.add_subcommand("drift", "How far each tap was from its limit, verification after verification");
  add_store_option(*command, options->store);
  options->filter.add_to(*command);
  command->add_option("--tap", options->tap, "This tap alone, without its layer: attn.q")->type_name("TAP");
  command->add_flag("--layers", options->layers, "A line for each layer, not for the worst of them");
  command->add_option("--mode", options->mode, "isolated, chained or exact")
      ->check(CLI::IsMember({"isolated", "chained", "exact"}))
      ->capture_default_str();
  command->add_option("--columns", options->columns, "So many runs are shown, the newest")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_flag("--json", options->json, "As JSON, for programs: of all runs");
  command->footer(
      "The last column is the newest run's figure divided by the median of all runs before it: 1 where nothing "
      "drifts.\n"
      "Example: mlbench history drift --backend cpu --dtype bf16\n"
      "         mlbench history drift --arch olmo --tap attn.q --layers --mode chained");
  command->callback([options, &action] { action = [options] { return drift(*options); }; });
}

}  // namespace mlbench::cli
