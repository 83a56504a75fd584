// The worst error / limit by tap and layer as a coloured HTML table, and how the ratios of each tap are spread.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/results.h"

namespace mlbench::reports {

// A class of ratios with one colour, in the table, in its legend and in the charts.
struct RatioBand {
  double most;  // the largest ratio that belongs to it
  const char* label;
  const char* colour;
  const char* ink;  // of text on it
};
[[nodiscard]] const std::vector<RatioBand>& ratio_bands();
[[nodiscard]] std::size_t band_of(double ratio);  // the last for what is not finite

// All modes of a run have the same rows, its kinds of tap in the order of computation, and the same columns, so that
// their maps can be laid side by side.
class HeatMap {
 public:
  explicit HeatMap(const BackendVerification& result);

  [[nodiscard]] bool has(VerifyMode mode) const;
  [[nodiscard]] std::size_t rows() const { return kinds_.size(); }
  [[nodiscard]] std::string table(VerifyMode mode) const;
  // For page.js: the share of each band among a tap's checks.
  [[nodiscard]] nlohmann::ordered_json spread(VerifyMode mode) const;
  // For page.js: the worst ratio of each layer, a line for each mode; null: not checked, "beyond": not finite.
  [[nodiscard]] nlohmann::ordered_json by_layer() const;
  [[nodiscard]] bool has_layers() const { return layers_.size() > 1; }

  [[nodiscard]] static std::string legend();
  [[nodiscard]] static std::string colours();  // CSS

 private:
  const BackendVerification& result_;
  std::vector<std::string> kinds_;
  std::vector<Index> columns_;  // -1 for outside the layers, then the layers
  std::vector<Index> layers_;
};

}  // namespace mlbench::reports
