#include "harness/measure/match_runs.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "harness/measure/environment.h"

namespace mlbench::measure {
namespace {

std::string differs(std::string_view what, std::string_view base, std::string_view next) {
  return fmt::format("{} differs: {} and {}", what, in_quotes(base, 80), in_quotes(next, 80));
}

BenchPoint elsewhere(BenchPoint point, const BenchPoint& other) {
  point.backend = other.backend;
  point.device = other.device;
  return point;
}

}  // namespace

std::vector<Measured> measured_in(std::span<const BenchRun> runs) {
  std::vector<Measured> out;
  for (const BenchRun& run : runs) {
    for (const BenchRow& row : run.rows) {
      const auto same = [&](const Measured& m) { return m.point == row.point && m.method == row.method; };
      auto at = std::ranges::find_if(out, same);
      if (at == out.end()) at = out.insert(out.end(), {row.point, row.method, {}});
      at->rows.push_back(&row);
    }
  }
  return out;
}

std::vector<Pair> matched(const std::vector<Measured>& base, const std::vector<Measured>& next) {
  const auto with = [](const std::vector<Measured>& all, const BenchPoint& point, std::string_view method) {
    return std::ranges::find_if(all, [&](const Measured& m) { return m.point == point && m.method == method; });
  };
  const auto alike = [](const std::vector<Measured>& all, const std::vector<Measured>& others, const Measured& like,
                        const auto& find) {
    std::vector<const Measured*> out;
    for (const Measured& m : all) {
      const bool taken = find(others, m.point, m.method) != others.end();
      if (!taken && m.method == like.method && elsewhere(m.point, like.point) == like.point) out.push_back(&m);
    }
    return out;
  };
  std::vector<Pair> out;
  for (const Measured& b : base) {
    const auto at = with(next, b.point, b.method);
    if (at != next.end()) {
      out.push_back({&b, &*at, ""});
      continue;
    }
    const auto there = alike(next, base, b, with), here = alike(base, next, b, with);
    if (there.size() != 1 || here.size() != 1) continue;
    const BenchPoint& n = there.front()->point;
    const bool device = n.backend == b.point.backend;
    out.push_back(
        {&b, there.front(),
         device ? differs("device", b.point.device, n.device) : differs("backend", b.point.backend, n.backend)});
  }
  return out;
}

std::string surroundings_differ(std::span<const BenchRun> base, std::span<const BenchRun> next) {
  const Environment& first = base.front().environment;
  for (const auto& [name, value] : first.facts) {
    if (may_differ(name) || value.empty()) continue;
    for (const std::span<const BenchRun> runs : {base, next}) {
      for (const BenchRun& run : runs) {
        const std::string other = run.environment.fact(name);
        if (!other.empty() && other != value) return differs(name, value, other);
      }
    }
  }
  return "";
}

std::string unfit(std::string_view side, const Measured& measured) {
  for (const BenchRow* row : measured.rows) {
    if (!row->unsupported.empty()) return fmt::format("{}: unsupported: {}", side, row->unsupported);
    if (!row->error.empty()) return fmt::format("{}: {}", side, row->error);
    if (row->check == BenchCheck::failed) return fmt::format("{}: its outputs are wrong: {}", side, row->check_text);
    if (row->check == BenchCheck::implausible)
      return fmt::format("{}: its times are implausible: {}", side, row->check_text);
    if (row->samples.empty()) return fmt::format("{}: no samples", side);
    for (const double t : row->samples) {
      if (!(t > 0.0) || !std::isfinite(t)) return fmt::format("{}: {} s is no time", side, t);
    }
  }
  return "";
}

std::vector<std::string> left_over(const std::vector<Measured>& all, const std::vector<Pair>& pairs,
                                   const Measured* Pair::*side) {
  std::vector<std::string> out;
  for (const Measured& m : all) {
    const auto is = [&](const Pair& pair) { return pair.*side == &m; };
    if (std::ranges::none_of(pairs, is)) out.push_back(describe(m.point, m.method));
  }
  return out;
}

}  // namespace mlbench::measure
