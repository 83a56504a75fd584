// mlbench history list: which runs there are.
#include <algorithm>
#include <map>
#include <memory>

#include <fmt/format.h>

#include "cli/history.h"
#include "cli/store_options.h"
#include "core/error.h"
#include "reports/table.h"

namespace mlbench::cli {
namespace {

using nlohmann::ordered_json;
using reports::Align;
using reports::RunId;
using reports::Store;
using reports::Table;

struct Options {
  std::string store;
  RunFilterOptions filter;
  bool json = false;
};

// What each run is about, each once.
std::map<RunId, std::vector<std::string>> subjects(const Store& store, const reports::RunFilter& filter) {
  std::map<RunId, std::vector<std::string>> out;
  const auto add = [&](RunId run, const std::string& subject) {
    auto& list = out[run];
    if (std::ranges::find(list, subject) == list.end()) list.push_back(subject);
  };
  for (const reports::StoredVerification& v : store.verifications(filter)) add(v.run, subject_of(v));
  for (const reports::StoredRow& r : store.rows(filter)) add(r.run, subject_of(r.point));
  return out;
}

std::string in_cell(const std::vector<std::string>& subjects) {
  if (subjects.empty()) return "-";
  return subjects.front() + (subjects.size() > 1 ? fmt::format(" and {} more", subjects.size() - 1) : "");
}

std::string or_dash(const std::string& text) { return text.empty() ? "-" : one_line(text); }

int list(const Options& options) {
  const Store store = open_store(options.store, Store::Access::read);
  const reports::RunFilter filter = options.filter.filter();
  auto about = subjects(store, filter);
  const auto heads = store.runs(filter);
  if (options.json) {
    ordered_json runs = ordered_json::array();
    for (const reports::RunHead& head : heads) {
      runs.push_back(head_json(head));
      runs.back()["subjects"] = about[head.id];
    }
    print(json_text({{"runs", std::move(runs)}}));
    return 0;
  }
  Table table({{"run", Align::right},
               {"started (UTC)", Align::left},
               {"kind", Align::left},
               {"verdict", Align::left},
               {"revision", Align::left},
               {"branch", Align::left},
               {"label", Align::left},
               {"host", Align::left},
               {"what", Align::left}});
  for (const reports::RunHead& head : heads) {
    std::string started = head.started;
    std::ranges::replace(started, 'T', ' ');
    table.add({fmt::format("{}", head.id), started.substr(0, started.find('Z')), std::string(name(head.kind)),
               head.verdict, or_dash(short_revision(head.revision)), or_dash(head.branch), or_dash(head.label),
               or_dash(head.host), in_cell(about[head.id])});
  }
  print(heads.empty() ? "no run\n" : table.text());
  return 0;
}

}  // namespace

void add_history_list(CLI::App& history, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = history.add_subcommand("list", "Which runs there are, the newest last");
  add_store_option(*command, options->store);
  options->filter.add_to(*command);
  command->add_flag("--json", options->json, "As JSON, for programs");
  command->footer(
      "Example: mlbench history list --last 20\n"
      "         mlbench history list --since 2026-11-01 --branch main --verdict failed");
  command->callback([options, &action] { action = [options] { return list(*options); }; });
}

}  // namespace mlbench::cli
