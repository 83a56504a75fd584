// The trace event format (complete events and metadata), as the trace viewers of Chrome and Perfetto read it.
#include <algorithm>
#include <limits>

#include <nlohmann/json.hpp>

#include "core/bench_results.h"
#include "reports/bench_report.h"

namespace mlbench::reports {
namespace {

using nlohmann::ordered_json;

constexpr double kMicroseconds = 1e6;

double first_of(const BenchRow& row) {
  double first = std::numeric_limits<double>::infinity();
  for (const RankTimes& rank : row.ranks) {
    for (const RankEvent& event : rank.events) first = std::min(first, event.begin);
  }
  return first;
}

ordered_json named(const char* what, std::size_t row, Index rank, const std::string& name) {
  return {{"ph", "M"}, {"name", what}, {"pid", row}, {"tid", rank}, {"args", {{"name", name}}}};
}

void add_row(const BenchRow& row, std::size_t number, ordered_json& events) {
  const double first = first_of(row);
  events.push_back(named("process_name", number, 0, describe(row.point, row.method)));
  for (const RankTimes& rank : row.ranks) {
    events.push_back(named("thread_name", number, rank.rank, "rank " + std::to_string(rank.rank) + " on " + rank.host));
    for (const RankEvent& event : rank.events) {
      events.push_back({{"ph", "X"},
                        {"name", event.activity},
                        {"pid", number},
                        {"tid", rank.rank},
                        {"ts", (event.begin - first) * kMicroseconds},
                        {"dur", (event.end - event.begin) * kMicroseconds}});
    }
  }
}

}  // namespace

std::string to_chrome_trace(const BenchRun& run) {
  ordered_json events = ordered_json::array();
  for (std::size_t i = 0; i < run.rows.size(); ++i) {
    if (!run.rows[i].ranks.empty()) add_row(run.rows[i], i, events);
  }
  const ordered_json out = {{"displayTimeUnit", "ms"}, {"traceEvents", events}};
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace mlbench::reports
