#include "harness/selftest/judgement.h"

#include <algorithm>

#include <fmt/format.h>

namespace mlbench::selftest {
namespace {

// What failed, in the order in which a reader is told: the first tap, then findings, then comparisons of runs.
struct Places {
  std::vector<std::string> names;
  std::string first;
  std::string call;  // of the first, where it is a tap

  void add(const std::string& name) {
    if (names.empty()) first = name;
    names.push_back(name);
  }
};

Places places_of(const BackendVerification& result) {
  Places out;
  if (const TapCheck* tap = result.first_failure()) {
    out.add(tap->tap);
    out.names.push_back(tap->kind);
    out.call = fmt::format("{} {}", mlbench::name(tap->mode), tap->call);
  }
  for (const Finding& fault : result.faults) out.add(fault.code);
  for (const ScheduleComparison& pair : result.schedules) {
    if (!pair.passed) out.add(pair.first_tap);
  }
  for (const Invariance& invariance : result.invariances) {
    if (invariance.required && !invariance.holds) out.add(invariance.property);
  }
  // Where it threw, that is why too little was tested.
  if (!result.error.empty()) out.add(result.error.substr(0, result.error.find(':')));
  for (const Finding& finding : result.untrusted) out.add(finding.code);
  return out;
}

double largest_ratio(const BackendVerification& result) {
  double largest = 0.0;
  for (const TapCheck& check : result.checks) largest = check.ratio <= largest ? largest : check.ratio;
  return largest;
}

// "parallel.differs attn.out": the error that names this, before anything else failed.
bool is_place(std::string_view place, const Places& places, const std::string& error) {
  const std::size_t blank = place.find(' ');
  if (place.starts_with("parallel.") && blank != std::string_view::npos)
    return places.first == place.substr(0, blank) && error.find(place.substr(blank + 1)) != std::string::npos;
  return std::ranges::find(places.names, place) != places.names.end();
}

}  // namespace

// Loose limits and a reference that does not react are the run's own: they say nothing of who was verified.
bool blamed(const BackendVerification& result) {
  using Verdict = BackendVerification::Verdict;
  const auto of_backend = [](const Finding& finding) { return finding.code == "untrusted.constant"; };
  return result.verdict() == Verdict::failed || result.verdict() == Verdict::error ||
         std::ranges::any_of(result.untrusted, of_backend);
}

MistakeResult judged(const Planting& planting, const BackendVerification& result, bool executed) {
  const Places places = places_of(result);
  MistakeResult out;
  out.name = planting.name;
  out.what = planting.what;
  out.scene = planting.scene;
  out.executed = executed;
  out.verdict = mlbench::name(result.verdict());
  out.found = executed && blamed(result);
  out.placed = out.found && std::ranges::any_of(planting.places, [&](std::string_view place) {
                 return is_place(place, places, result.error);
               });
  out.where = places.first;
  out.call = places.call;
  out.ratio = largest_ratio(result);
  return out;
}

}  // namespace mlbench::selftest
