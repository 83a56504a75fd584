#include "reports/dashboard/heat.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "reports/figures.h"

namespace mlbench::reports::dashboard {

using nlohmann::ordered_json;

std::string series_of(const StoredVerification& p) {
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{} {} {} {}", p.model, p.architecture, p.backend, p.device, p.dtype,
                     p.tensor_parallel, p.pipeline_parallel, p.disaggregated, p.replicas);
}

std::vector<PartKey> newest_parts(const std::vector<RunHead>& runs,
                                  const std::vector<StoredVerification>& verifications) {
  std::map<RunId, std::vector<const StoredVerification*>> parts;
  for (const StoredVerification& part : verifications) parts[part.run].push_back(&part);
  std::map<std::string, std::size_t> taken;
  std::vector<PartKey> out;
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
    const auto found = parts.find(run->id);
    if (found == parts.end()) continue;
    for (std::size_t i = 0; i < found->second.size(); ++i) {
      if (taken[series_of(*found->second[i])]++ < kHeatMapsPerSeries) out.emplace_back(run->id, static_cast<Index>(i));
    }
  }
  return out;
}

std::vector<RunId> runs_with_heat_maps(const std::vector<RunHead>& runs,
                                       const std::vector<StoredVerification>& verifications) {
  std::set<RunId> ids;
  for (const auto& [run, part] : newest_parts(runs, verifications)) ids.insert(run);
  return {ids.begin(), ids.end()};
}

ordered_json heat_map(const std::vector<const StoredTap*>& taps, Texts& texts) {
  std::vector<std::string> kinds;  // in the order of computation, as they come
  std::set<Index> layers;
  for (const StoredTap* tap : taps) {
    if (std::ranges::find(kinds, tap->kind) == kinds.end()) kinds.push_back(tap->kind);
    layers.insert(tap->layer);
  }
  const std::vector<Index> columns(layers.begin(), layers.end());
  struct Mode {
    std::vector<ordered_json> ratios;
    std::vector<std::size_t> failed;
  };
  std::map<std::string, Mode> modes;
  for (const StoredTap* tap : taps) {
    Mode& mode = modes[tap->mode];
    mode.ratios.resize(kinds.size() * columns.size());
    const auto row = static_cast<std::size_t>(std::ranges::find(kinds, tap->kind) - kinds.begin());
    const auto column = static_cast<std::size_t>(std::ranges::find(columns, tap->layer) - columns.begin());
    mode.ratios[row * columns.size() + column] = ratio_figure(tap->ratio);
    if (tap->failed > 0) mode.failed.push_back(row * columns.size() + column);
  }
  ordered_json out = {{"kinds", ordered_json::array()}, {"layers", columns}, {"modes", ordered_json::object()}};
  for (const std::string& kind : kinds) out["kinds"].push_back(texts.place(kind));
  for (const auto& [name, mode] : modes)
    out["modes"][clean_text(name)] = {{"ratios", mode.ratios}, {"failed", mode.failed}};
  return out;
}

}  // namespace mlbench::reports::dashboard
