#include "reports/selftest_report.h"

#include <fmt/format.h>

#include "reports/figures.h"
#include "reports/table.h"

namespace mlbench::reports {
namespace {

using nlohmann::ordered_json;

std::string coloured(const std::string& word, int code, bool color) {
  return color ? fmt::format("\x1b[{}m{}\x1b[0m", code, word) : word;
}

std::string verdict(bool passed, bool color) {
  return passed ? coloured("passed", 32, color) : coloured("FAILED", 31, color);
}

// What became of a mistake, in one word or two.
std::string_view outcome(const MistakeResult& m) {
  if (!m.executed) return "not executed";
  if (!m.found) return "not found";
  return m.placed ? "placed" : "found elsewhere";
}

std::string scores(const SelftestResults& results, bool color) {
  Table table({{"type", Align::left},
               {"planted", Align::right},
               {"executed", Align::right},
               {"found", Align::right},
               {"placed", Align::right},
               {"honest runs", Align::right},
               {"false alarms", Align::right},
               {"verdict", Align::left}});
  for (const SelftestOfType& type : results.types) {
    table.add({type.dtype, std::to_string(type.planted()), std::to_string(type.executed()),
               std::to_string(type.found()), std::to_string(type.placed()), std::to_string(type.honest_runs),
               std::to_string(type.alarms.size()), verdict(type.enough(), color)});
  }
  return table.text();
}

// How many from `first` on are the same mistake, rightly placed in one configuration after the other: a line for all.
std::size_t alike(const std::vector<MistakeResult>& mistakes, std::size_t first) {
  std::size_t count = 1;
  const auto same = [&](const MistakeResult& m) { return m.placed && m.name == mistakes[first].name; };
  while (same(mistakes[first]) && first + count < mistakes.size() && same(mistakes[first + count])) ++count;
  return count;
}

std::string mistakes(const SelftestResults& results, bool color) {
  Table table({{"mistake", Align::left},
               {"type", Align::left},
               {"planted in", Align::left},
               {"verdict", Align::left},
               {"where", Align::left},
               {"call", Align::left},
               {"error/limit", Align::right},
               {"", Align::left}});
  for (const SelftestOfType& type : results.types) {
    for (std::size_t i = 0, count = 0; i < type.mistakes.size(); i += count) {
      const MistakeResult& m = type.mistakes[i];
      count = alike(type.mistakes, i);
      const std::string word(outcome(m)), scene = count > 1 ? fmt::format("{} + {} more", m.scene, count - 1) : m.scene;
      table.add({m.name, type.dtype, scene, m.verdict, m.where.empty() ? "-" : m.where, m.call, number(m.ratio),
                 m.placed ? word : coloured(word, m.found ? 33 : 31, color)});
    }
  }
  return table.text();
}

std::string alarms(const SelftestOfType& type) {
  std::string out;
  for (const FalseAlarm& alarm : type.alarms) {
    out += fmt::format("false alarm: {}, {}, seed {}: {} at {} {}, error/limit {}\n", alarm.scene, type.dtype,
                       alarm.seed, alarm.verdict, alarm.where, alarm.call, number(alarm.ratio));
  }
  return out;
}

// What a mistake that was not found did to the values: less than a rounding, or nothing that was looked at.
std::string missed(const SelftestOfType& type) {
  std::string out;
  for (const MistakeResult& m : type.mistakes) {
    if (m.found) continue;
    const std::string where = m.certain ? ", " + m.scene : "";  // one of several that it is planted in
    out += fmt::format("{}: {}, {}{}: {}; largest error/limit {}\n", outcome(m), m.name, type.dtype, where, m.what,
                       number(m.ratio));
  }
  return out;
}

ordered_json to_json(const MistakeResult& m) {
  return {{"name", m.name},         {"what", m.what},           {"scene", m.scene},    {"verdict", m.verdict},
          {"executed", m.executed}, {"found", m.found},         {"placed", m.placed},  {"where", m.where},
          {"call", m.call},         {"ratio", finite(m.ratio)}, {"certain", m.certain}};
}

ordered_json to_json(const SelftestOfType& type) {
  ordered_json mistakes = ordered_json::array();
  for (const MistakeResult& m : type.mistakes) mistakes.push_back(to_json(m));
  ordered_json alarms = ordered_json::array();
  for (const FalseAlarm& a : type.alarms) {
    alarms.push_back({{"scene", a.scene},
                      {"seed", a.seed},
                      {"verdict", a.verdict},
                      {"where", a.where},
                      {"call", a.call},
                      {"ratio", finite(a.ratio)}});
  }
  return {{"dtype", type.dtype},
          {"verdict", type.enough() ? "passed" : "failed"},
          {"planted", type.planted()},
          {"executed", type.executed()},
          {"found", type.found()},
          {"placed", type.placed()},
          {"required_found", type.required_found},
          {"honest_runs", type.honest_runs},
          {"false_alarms", type.alarms.size()},
          {"honest_ratio", finite(type.honest_ratio)},
          {"alarms", std::move(alarms)},
          {"mistakes", std::move(mistakes)}};
}

}  // namespace

std::string to_text(const SelftestResults& results, bool color) {
  std::string out = scores(results, color) + "\n";
  bool any = false;
  for (const SelftestOfType& type : results.types) any |= type.planted() > 0;
  if (any) out += mistakes(results, color) + "\n";
  for (const SelftestOfType& type : results.types) out += missed(type) + alarms(type);
  return out + fmt::format("selftest {}\n", verdict(results.enough(), color));
}

ordered_json to_json(const SelftestResults& results) {
  ordered_json types = ordered_json::array();
  for (const SelftestOfType& type : results.types) types.push_back(to_json(type));
  return {{"verdict", results.enough() ? "passed" : "failed"}, {"seeds", results.seeds}, {"types", std::move(types)}};
}

}  // namespace mlbench::reports
