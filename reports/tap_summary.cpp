#include "reports/tap_summary.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "reports/figures.h"

namespace mlbench::reports {
namespace {

template <class T>
void insert_once(std::vector<T>& into, const T& value) {
  if (std::ranges::find(into, value) == into.end()) into.push_back(value);
}

}  // namespace

void TapSummary::add(const TapCheck& check) {
  if (worst == nullptr || worse(check.ratio, worst->ratio)) worst = &check;
  ++checks;
  failed += check.passed ? 0 : 1;
  elements += check.elements;
  straying += check.straying;
}

std::vector<TapRow> summarize(const BackendVerification& result, std::string TapCheck::*key) {
  std::vector<TapRow> rows;
  std::map<std::string, std::size_t> index;
  for (const TapCheck& check : result.checks) {
    const auto [it, fresh] = index.try_emplace(check.*key, rows.size());
    if (fresh) rows.push_back({it->first, {}});
    rows[it->second].by_mode[static_cast<std::size_t>(check.mode)].add(check);
  }
  return rows;
}

const TapCheck* worst_check(const BackendVerification& result, VerifyMode mode) {
  TapSummary summary;
  for (const TapCheck& check : result.checks) {
    if (check.mode == mode) summary.add(check);
  }
  return summary.worst;
}

std::string ratio_text(const TapCheck& check) {
  return !std::isfinite(check.ratio) && std::isfinite(check.error) ? "limit 0" : number(check.ratio);
}

std::string worst_text(const BackendVerification& result, VerifyMode mode) {
  const TapCheck* worst = worst_check(result, mode);
  return worst == nullptr ? "-" : ratio_text(*worst);
}

std::vector<Cause> causes_of(const BackendVerification& result) {
  std::vector<Cause> causes;
  std::map<std::tuple<bool, std::string, std::string>, std::size_t> index;
  for (const TapCheck& check : result.checks) {
    if (check.passed) continue;
    const auto [it, fresh] =
        index.try_emplace({check.mode == VerifyMode::chained, check.kind, check.guess}, causes.size());
    if (fresh) causes.push_back({.kind = check.kind, .guess = check.guess, .first = &check});
    Cause& cause = causes[it->second];
    ++cause.checks;
    insert_once(cause.modes, check.mode);
    insert_once(cause.calls, check.call);
    if (check.layer >= 0) insert_once(cause.layers, check.layer);
  }
  for (Cause& cause : causes) std::ranges::sort(cause.layers);
  return causes;
}

std::string modes_text(const Cause& cause) {
  std::vector<std::string_view> words;
  for (const VerifyMode mode : cause.modes) words.push_back(name(mode));
  return fmt::format("{}", fmt::join(words, ", "));
}

std::string layers_text(const Cause& cause) {
  std::vector<std::string> ranges;
  for (std::size_t i = 0; i < cause.layers.size();) {
    std::size_t end = i + 1;
    while (end < cause.layers.size() && cause.layers[end] == cause.layers[end - 1] + 1) ++end;
    const Index first = cause.layers[i], last = cause.layers[end - 1];
    ranges.push_back(first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last));
    i = end;
  }
  return ranges.empty() ? "-" : fmt::format("{}", fmt::join(ranges, ", "));
}

}  // namespace mlbench::reports
