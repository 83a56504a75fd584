// The small vocabulary of the dashboard's data: texts by number, figures rounded to what is drawn, columns.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <nlohmann/json.hpp>

namespace mlbench::reports::dashboard {

// Texts, each once.
class Texts {
 public:
  Texts() { (void)place(""); }
  [[nodiscard]] std::size_t place(const std::string& text);
  [[nodiscard]] nlohmann::ordered_json take() { return std::move(list_); }

 private:
  std::unordered_map<std::string, std::size_t> places_;
  nlohmann::ordered_json list_ = nlohmann::ordered_json::array();
};

// Columns of equal length under names.
class Columns {
 public:
  explicit Columns(std::initializer_list<const char*> names);
  // A value for each name, in their order.
  void add(std::initializer_list<nlohmann::ordered_json> row);
  [[nodiscard]] std::size_t rows() const { return columns_.front().size(); }
  [[nodiscard]] nlohmann::ordered_json take();

 private:
  std::vector<std::string> names_;
  std::vector<nlohmann::ordered_json> columns_;
};

// To so many significant digits, such that it prints no longer; null where it is not finite.
[[nodiscard]] nlohmann::ordered_json rounded(double value, int digits);
[[nodiscard]] nlohmann::ordered_json rounded(const std::optional<double>& value, int digits);
// An error / limit: null where there is none, -1 where it is not finite.
[[nodiscard]] nlohmann::ordered_json ratio_figure(const std::optional<double>& ratio);

// Seconds from 1970 to 2026-11-21T10:00:00Z, or to a day alone; null where the text begins with neither.
[[nodiscard]] nlohmann::ordered_json seconds_of(std::string_view time);

}  // namespace mlbench::reports::dashboard
