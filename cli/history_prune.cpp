// mlbench history prune: removes runs.
#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/history.h"
#include "cli/store_options.h"
#include "core/error.h"

namespace mlbench::cli {
namespace {

using reports::RunHead;
using reports::RunId;
using reports::Store;

struct Options {
  std::string store;
  RunFilterOptions filter;
  std::vector<RunId> ids;
  std::size_t keep = 0;
  bool dry_run = false;
};

// Runs with the same one are each other's successors.
std::map<RunId, std::string> keys_of(const Store& store, const std::vector<RunHead>& heads) {
  std::map<RunId, std::set<std::string>> subjects;
  for (const reports::StoredVerification& v : store.verifications({})) subjects[v.run].insert(subject_of(v));
  for (const reports::StoredRow& r : store.rows({})) subjects[r.run].insert(subject_of(r.point));
  std::map<RunId, std::string> out;
  for (const RunHead& head : heads) {
    out[head.id] = fmt::format("{}\n{}\n{}\n{}\n{}", name(head.kind), head.host, head.branch, head.label,
                               fmt::join(subjects[head.id], "\n"));
  }
  return out;
}

// The newest of each key.
std::set<RunId> kept(const Store& store, std::size_t newest) {
  std::vector<RunHead> heads = store.runs({});
  const auto keys = keys_of(store, heads);
  std::map<std::string, std::size_t> counts;
  std::set<RunId> out;
  std::ranges::reverse(heads);
  for (const RunHead& head : heads) {
    if (counts[keys.at(head.id)]++ < newest) out.insert(head.id);
  }
  return out;
}

int prune(const Options& options) {
  if (options.ids.empty() && !options.filter.given() && options.keep == 0)
    throw request_error("usage", "history prune: say which runs: --before DATE, --keep N, other options or numbers");
  reports::RunFilter filter = options.filter.filter();
  filter.ids = options.ids;
  Store store = open_store(options.store, options.dry_run ? Store::Access::read : Store::Access::write);
  require_runs(store, options.ids);
  // Before those to spare: a run that another program adds in between is then in no list.
  const std::vector<RunHead> found = store.runs(filter);
  const std::set<RunId> spared = options.keep == 0 ? std::set<RunId>() : kept(store, options.keep);
  std::vector<RunId> removed;
  for (const RunHead& head : found) {
    if (!spared.contains(head.id)) removed.push_back(head.id);
  }
  std::size_t count = removed.size();
  if (!options.dry_run && count > 0) count = store.remove({.ids = removed});
  std::ranges::sort(removed);
  print(fmt::format("{} {}{}\n", runs_text(count), options.dry_run ? "would be removed" : "removed",
                    removed.empty() ? "" : fmt::format(": {}", fmt::join(removed, ", "))));
  return 0;
}

}  // namespace

void add_history_prune(CLI::App& history, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = history.add_subcommand("prune", "Remove runs, for good");
  add_store_option(*command, options->store);
  command->add_option("ID", options->ids, "Numbers of runs (mlbench history list)");
  options->filter.add_to(*command);
  command
      ->add_option("--keep", options->keep,
                   "Spare the newest N of the same thing: of one kind, host, branch and label, with equal models, "
                   "backends, devices, types and splits")
      ->type_name("N")
      ->check(CLI::Range(1, 1'000'000'000));
  command->add_flag("--dry-run", options->dry_run, "Say which, and remove none");
  command->footer(
      "What is removed meets every condition that is given. The file becomes smaller; numbers are not given again.\n"
      "Example: mlbench history prune --before 2026-01-01 --keep 10 --dry-run");
  command->callback([options, &action] { action = [options] { return prune(*options); }; });
}

}  // namespace mlbench::cli
