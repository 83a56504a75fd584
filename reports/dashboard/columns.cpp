#include "reports/dashboard/columns.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <utility>

#include "reports/figures.h"

namespace mlbench::reports::dashboard {

using nlohmann::ordered_json;

std::size_t Texts::place(const std::string& text) {
  const auto [it, fresh] = places_.try_emplace(text, places_.size());
  if (fresh) list_.push_back(clean_text(text));
  return it->second;
}

Columns::Columns(std::initializer_list<const char*> names)
    : names_(names.begin(), names.end()), columns_(names.size(), ordered_json::array()) {}

void Columns::add(std::initializer_list<ordered_json> row) {
  auto column = columns_.begin();
  for (const ordered_json& value : row) (column++)->push_back(value);
}

ordered_json Columns::take() {
  ordered_json out = ordered_json::object();
  for (std::size_t i = 0; i < names_.size(); ++i) out[names_[i]] = std::move(columns_[i]);
  return out;
}

ordered_json rounded(double value, int digits) {
  if (!std::isfinite(value)) return nullptr;
  if (value == 0.0) return 0;
  const int behind = digits - 1 - static_cast<int>(std::floor(std::log10(std::abs(value))));
  // A whole number over a power of ten, or times one, is the double nearest to that decimal, which prints short.
  const double power = std::pow(10.0, std::abs(behind));
  if (!std::isfinite(power)) return value;
  const double result = behind >= 0 ? std::round(value * power) / power : std::round(value / power) * power;
  if (!std::isfinite(result)) return value;
  constexpr double kExact = 9e15;
  if (std::abs(result) < kExact && result == std::floor(result)) return static_cast<std::int64_t>(result);
  return result;
}

ordered_json rounded(const std::optional<double>& value, int digits) {
  return value ? rounded(*value, digits) : ordered_json(nullptr);
}

ordered_json ratio_figure(const std::optional<double>& ratio) {
  constexpr int kRatioDigits = 3;
  if (!ratio) return nullptr;
  return std::isfinite(*ratio) ? rounded(*ratio, kRatioDigits) : ordered_json(-1);
}

ordered_json seconds_of(std::string_view time) {
  using namespace std::chrono;
  int year = 0, hour = 0, minute = 0, second = 0;
  unsigned month = 0, day = 0;
  const std::string text(time);
  const int read = std::sscanf(text.c_str(), "%4d-%2u-%2uT%2d:%2d:%2d", &year, &month, &day, &hour, &minute, &second);
  const year_month_day date{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  if (read < 3 || !date.ok()) return nullptr;
  return duration_cast<seconds>(sys_days(date).time_since_epoch()).count() + 3600 * hour + 60 * minute + second;
}

}  // namespace mlbench::reports::dashboard
