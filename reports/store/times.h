// Moments as the store has them: UTC, to the second, 2026-11-21T10:00:00Z. As text they are in the order of time.
#pragma once

#include <ctime>
#include <optional>
#include <string>

namespace mlbench::reports {

[[nodiscard]] std::string utc_text(std::time_t time);

// A moment of ISO 8601 with its zone ("2026-11-21T11:00:00+01:00", fractions of a second cut off), or a day, which is
// its beginning in UTC. Nothing where it is neither, or is not in the calendar.
[[nodiscard]] std::optional<std::string> utc_from(const std::string& text);

}  // namespace mlbench::reports
