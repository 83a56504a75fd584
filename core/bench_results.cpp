#include "core/bench_results.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace mlbench {
namespace {

constexpr std::array<std::string_view, 5> kChecks = {"passed", "sampled", "failed", "implausible", "unchecked"};
constexpr std::array<std::string_view, 3> kStops = {"precision", "max_time", "interrupted"};
constexpr std::array<std::string_view, 4> kDifferences = {"same", "faster", "slower", "undecided"};

template <class Enum, std::size_t n>
std::optional<Enum> parse(const std::array<std::string_view, n>& names, std::string_view text) {
  const auto at = std::ranges::find(names, text);
  if (at == names.end()) return std::nullopt;
  return static_cast<Enum>(at - names.begin());
}

}  // namespace

std::string_view name(BenchCheck check) { return kChecks[static_cast<std::size_t>(check)]; }
std::optional<BenchCheck> parse_bench_check(std::string_view text) { return parse<BenchCheck>(kChecks, text); }

std::string_view name(BenchStop stop) { return kStops[static_cast<std::size_t>(stop)]; }
std::optional<BenchStop> parse_bench_stop(std::string_view text) { return parse<BenchStop>(kStops, text); }

std::string_view name(Difference difference) { return kDifferences[static_cast<std::size_t>(difference)]; }

std::string Environment::fact(std::string_view name) const {
  const auto at = std::ranges::find(facts, name, [](const auto& fact) { return std::string_view(fact.first); });
  return at == facts.end() ? "" : at->second;
}

bool BenchComparison::any(Difference difference) const {
  return std::ranges::any_of(
      rows, [&](const ComparedRow& row) { return row.not_compared.empty() && row.difference == difference; });
}

std::string describe(const BenchPoint& point, std::string_view method) {
  std::string out = fmt::format("{} {} {}, {} thread{}, batch {}, prompt {}", point.model, point.backend, point.dtype,
                                point.threads, point.threads == 1 ? "" : "s", point.batch, point.prompt);
  if (point.gen > 0) out += fmt::format(", gen {}", point.gen);
  if (point.depth > 0) out += fmt::format(", depth {}", point.depth);
  if (point.tensor_parallel > 1) out += fmt::format(", tp {}", point.tensor_parallel);
  if (point.pipeline_parallel > 1) out += fmt::format(", pp {}", point.pipeline_parallel);
  if (point.disaggregated) out += ", prefill and decode apart";
  if (point.replicas > 1) out += fmt::format(", {} replicas", point.replicas);
  return fmt::format("{}: {}", out, method);
}

}  // namespace mlbench
