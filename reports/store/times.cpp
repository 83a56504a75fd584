#include "reports/store/times.h"

#include <chrono>
#include <regex>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace mlbench::reports {

std::string utc_text(std::time_t time) { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(time)); }

std::optional<std::string> utc_from(const std::string& text) {
  using namespace std::chrono;
  static const std::regex kForm(
      R"((\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(?:Z|([+-])(\d\d):?(\d\d)))?)");
  std::smatch match;
  if (text.size() > 64 || !std::regex_match(text, match, kForm)) return std::nullopt;
  const auto field = [&](std::size_t i) { return match[i].matched ? std::stoi(match[i]) : 0; };
  const year_month_day day{year(field(1)), month(static_cast<unsigned>(field(2))),
                           std::chrono::day(static_cast<unsigned>(field(3)))};
  constexpr int kHours = 24, kMinutes = 60, kZoneHours = 15;
  if (!day.ok() || field(4) >= kHours || field(5) >= kMinutes || field(6) >= kMinutes || field(8) >= kZoneHours ||
      field(9) >= kMinutes)
    return std::nullopt;
  const minutes zone = hours(field(8)) + minutes(field(9));
  const sys_seconds local = sys_days(day) + hours(field(4)) + minutes(field(5)) + seconds(field(6));
  const sys_seconds utc = match[7] == "-" ? local + zone : local - zone;
  if (utc.time_since_epoch().count() < 0) return std::nullopt;  // before 1970 nobody measured this
  return utc_text(system_clock::to_time_t(utc));
}

}  // namespace mlbench::reports
