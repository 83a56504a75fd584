// mlbench history show: one run.
#include <map>
#include <memory>

#include <fmt/format.h>

#include "cli/history.h"
#include "cli/store_options.h"
#include "core/error.h"
#include "reports/bench_report.h"
#include "reports/table.h"

namespace mlbench::cli {
namespace {

using reports::Align;
using reports::RunHead;
using reports::Store;
using reports::StoredTap;
using reports::Table;

struct Options {
  std::string store;
  reports::RunId id = 0;
  bool json = false;
  std::string color = "auto";
};

// The worst of a kind in one mode, over all layers.
struct Worst {
  const StoredTap* tap = nullptr;
  Index failed = 0;

  void add(const StoredTap& other) {
    if (tap == nullptr || other.ratio > tap->ratio) tap = &other;
    failed += other.failed;
  }
  [[nodiscard]] std::string ratio() const { return tap == nullptr ? "-" : figure_text(tap->ratio); }
  [[nodiscard]] std::string layer() const {
    return tap == nullptr || tap->layer < 0 ? "" : fmt::format("layer {}", tap->layer);
  }
};

std::string taps_text(const std::vector<StoredTap>& taps, Index part) {
  std::vector<std::string> kinds;  // in the order of computation
  std::map<std::string, std::map<std::string, Worst>> worst;
  for (const StoredTap& tap : taps) {
    if (tap.part != part) continue;
    if (!worst.contains(tap.kind)) kinds.push_back(tap.kind);
    worst[tap.kind][tap.mode].add(tap);
  }
  if (kinds.empty()) return "";
  Table table({{"tap", Align::left},
               {"isolated", Align::right},
               {"worst in", Align::left},
               {"chained", Align::right},
               {"worst in", Align::left},
               {"exact", Align::right},
               {"worst in", Align::left},
               {"failed", Align::right}});
  for (const std::string& kind : kinds) {
    std::vector<std::string> cells{one_line(kind)};
    Index failed = 0;
    for (const char* mode : {"isolated", "chained", "exact"}) {
      const Worst& of_mode = worst[kind][mode];
      cells.push_back(of_mode.ratio());
      cells.push_back(of_mode.layer());
      failed += of_mode.failed;
    }
    cells.push_back(fmt::format("{}", failed));
    table.add(std::move(cells));
  }
  return "error / limit\n" + table.text() + "\n";
}

std::string verification_text(const Store& store, reports::RunId id) {
  const auto parts = store.verifications({.ids = {id}});
  const auto taps = store.taps({.ids = {id}});
  std::string out;
  Table summary({{"model", Align::left},
                 {"backend", Align::left},
                 {"version", Align::left},
                 {"device", Align::left},
                 {"dtype", Align::left},
                 {"checks", Align::right},
                 {"failed", Align::right},
                 {"isolated", Align::right},
                 {"chained", Align::right},
                 {"exact", Align::right},
                 {"verdict", Align::left}});
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const reports::StoredVerification& v = parts[i];
    const std::string table = taps_text(taps, static_cast<Index>(i));
    if (!table.empty()) out += fmt::format("{}\n{}", subject_of(v), table);
    summary.add({one_line(v.model), one_line(v.backend), one_line(v.backend_version), one_line(v.device),
                 one_line(v.dtype), fmt::format("{}", v.checks), fmt::format("{}", v.failed), figure_text(v.isolated),
                 figure_text(v.chained), figure_text(v.exact), v.verdict});
  }
  return out + summary.text();
}

std::string heading(const Store& store, const RunHead& head) {
  std::string out = fmt::format("run {}: {}, {}\n\n", head.id, name(head.kind), head.verdict);
  const auto add = [&](const std::string& what, const std::string& value) {
    if (!value.empty()) out += fmt::format("{:<21}{}\n", one_line(what), one_line(value));
  };
  add("started", head.started);
  add("revision", head.revision);
  add("branch", head.branch);
  add("label", head.label);
  add("program", head.program);
  const auto facts = store.environment(head.id);
  if (facts.empty()) {
    add("host", head.host);
    add("processor", head.processor);
  }
  for (const auto& [fact, value] : facts) add(fact, value);
  return out + "\n";
}

int show(const Options& options) {
  const Store store = open_store(options.store, Store::Access::read);
  const std::string document = store.document(options.id);
  if (options.json) {
    print(document);
    return 0;
  }
  const RunHead head = store.runs({.ids = {options.id}}).at(0);
  std::string out = heading(store, head);
  if (head.kind == reports::StoredKind::benchmark)
    out +=
        reports::to_text(reports::read_bench_run(document, fmt::format("run {}", head.id)), use_color(options.color));
  else
    out += verification_text(store, head.id);
  if (!head.command.empty()) out += fmt::format("\nagain: {}\n", one_line(head.command));
  print(out);
  return 0;
}

}  // namespace

void add_history_show(CLI::App& history, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = history.add_subcommand("show", "One run: where it took place, what it found, how to repeat it");
  add_store_option(*command, options->store);
  command->add_option("ID", options->id, "Its number (mlbench history list)")->required();
  command->add_flag("--json", options->json, "The document itself, as --json wrote it");
  command->add_option("--color", options->color, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
  command->footer("Example: mlbench history show 12");
  command->callback([options, &action] { action = [options] { return show(*options); }; });
}

}  // namespace mlbench::cli
