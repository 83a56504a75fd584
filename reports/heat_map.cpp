#include "reports/heat_map.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "reports/figures.h"
#include "reports/tap_summary.h"

namespace mlbench::reports {
namespace {

using nlohmann::ordered_json;

constexpr double kInf = std::numeric_limits<double>::infinity();

// A tile has room for three characters.
std::string short_number(double ratio) {
  if (!std::isfinite(ratio)) return "\u00d7";
  if (ratio == 0.0) return "0";
  if (ratio < 0.01) return "";
  if (ratio < 0.995) return fmt::format("{:.2f}", ratio).substr(1);
  if (ratio < 9.95) return fmt::format("{:.1f}", ratio);
  return ratio < 999.5 ? fmt::format("{:.0f}", ratio) : fmt::format("e{:.0f}", std::floor(std::log10(ratio)));
}

}  // namespace

const std::vector<RatioBand>& ratio_bands() {
  // Green for no error at all, blue up to the limit, the darker the nearer, orange to dark red beyond it.
  static const std::vector<RatioBand> bands = {{0.0, "0", "#d6ecdf", "#3f6f54"},
                                               {0.01, "\u2264 0.01", "#dde9f6", "#3b4a5c"},
                                               {0.1, "\u2264 0.1", "#b9d3ed", "#2b3a4c"},
                                               {0.3, "\u2264 0.3", "#8db7de", "#16222f"},
                                               {0.6, "\u2264 0.6", "#5c93ca", "#0d1722"},
                                               {1.0, "\u2264 1", "#2f69ab", "#ffffff"},
                                               {10.0, "\u2264 10", "#f5a34a", "#3a2000"},
                                               {std::numeric_limits<double>::max(), "> 10", "#d8301f", "#ffffff"},
                                               {kInf, "limit 0, or not finite", "#6d0f12", "#ffffff"}};
  return bands;
}

std::size_t band_of(double ratio) {
  const std::vector<RatioBand>& bands = ratio_bands();
  if (!std::isfinite(ratio)) return bands.size() - 1;
  const auto it = std::ranges::find_if(bands, [&](const RatioBand& band) { return ratio <= band.most; });
  return static_cast<std::size_t>(it - bands.begin());
}

HeatMap::HeatMap(const BackendVerification& result) : result_(result) {
  for (const TapRow& row : summarize(result, &TapCheck::kind)) kinds_.push_back(row.key);
  std::set<Index> columns;
  for (const TapCheck& check : result.checks) columns.insert(std::max<Index>(check.layer, -1));
  columns_.assign(columns.begin(), columns.end());
  std::ranges::copy_if(columns_, std::back_inserter(layers_), [](Index layer) { return layer >= 0; });
}

bool HeatMap::has(VerifyMode mode) const { return worst_check(result_, mode) != nullptr; }

std::string HeatMap::table(VerifyMode mode) const {
  std::map<std::pair<std::string, Index>, TapSummary> cells;
  for (const TapCheck& check : result_.checks) {
    if (check.mode == mode) cells[{check.kind, std::max<Index>(check.layer, -1)}].add(check);
  }
  // Many layers get narrow tiles without numbers.
  std::string out = fmt::format(R"(<div class="scroll"><table class="map{}"><thead><tr><th>tap \ layer</th>)",
                                columns_.size() > 40 ? " narrow" : "");
  for (const Index layer : columns_) out += layer < 0 ? "<th>\u2013</th>" : fmt::format("<th>{}</th>", layer);
  out += "</tr></thead><tbody>\n";
  for (const std::string& kind : kinds_) {
    out += fmt::format("<tr><th>{}</th>", html_text(kind));
    for (const Index layer : columns_) {
      const auto it = cells.find({kind, layer});
      if (it == cells.end()) {
        out += "<td></td>";
        continue;
      }
      const TapSummary& s = it->second;
      const std::string failed = s.failed == 0 ? "" : fmt::format(", {} failed", s.failed);
      out += fmt::format(R"(<td class="b{}" title="{}: {} in {}; {}{}">{}</td>)", band_of(s.worst->ratio),
                         html_text(s.worst->tap), html_text(ratio_text(*s.worst)), html_text(s.worst->call),
                         counted(s.checks, "check"), failed, short_number(s.worst->ratio));
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

ordered_json HeatMap::spread(VerifyMode mode) const {
  const std::size_t bands = ratio_bands().size();
  std::map<std::string, std::vector<Index>> counts;
  for (const TapCheck& check : result_.checks) {
    if (check.mode != mode) continue;
    std::vector<Index>& count = counts[check.kind];
    count.resize(bands);
    ++count[band_of(check.ratio)];
  }
  ordered_json labels = ordered_json::array(), rows = ordered_json::array();
  for (const std::string& kind : kinds_) {
    const auto it = counts.find(kind);
    if (it == counts.end()) continue;
    labels.push_back(clean_text(kind));
    rows.push_back(it->second);
  }
  return {{"taps", labels}, {"counts", rows}};
}

ordered_json HeatMap::by_layer() const {
  ordered_json lines = ordered_json::array();
  for (const VerifyMode mode : kVerifyModes) {
    if (!has(mode)) continue;
    std::map<Index, double> worst;
    for (const TapCheck& check : result_.checks) {
      if (check.mode != mode || check.layer < 0) continue;
      const auto [it, fresh] = worst.try_emplace(check.layer, check.ratio);
      if (!fresh && worse(check.ratio, it->second)) it->second = check.ratio;
    }
    ordered_json values = ordered_json::array();
    for (const Index layer : layers_) {
      const auto it = worst.find(layer);
      if (it == worst.end()) {
        values.push_back(nullptr);
      } else {
        values.push_back(std::isfinite(it->second) ? ordered_json(it->second) : ordered_json("beyond"));
      }
    }
    lines.push_back({{"mode", name(mode)}, {"ratios", values}});
  }
  return {{"layers", layers_}, {"lines", lines}};
}

std::string HeatMap::legend() {
  std::string out = "<p class=\"legend\">error / limit:";
  for (std::size_t i = 0; i < ratio_bands().size(); ++i) {
    out += fmt::format(" <span class=\"b{}\">{}</span>", i, html_text(ratio_bands()[i].label));
  }
  return out + " <span class=\"none\">not checked</span></p>\n";
}

std::string HeatMap::colours() {
  std::string out;
  for (std::size_t i = 0; i < ratio_bands().size(); ++i) {
    out += fmt::format(".b{} {{ background: {}; color: {}; }}\n", i, ratio_bands()[i].colour, ratio_bands()[i].ink);
  }
  return out;
}

}  // namespace mlbench::reports
