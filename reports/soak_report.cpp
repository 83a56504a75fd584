#include "reports/soak_report.h"

#include <iterator>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "reports/figures.h"
#include "reports/table.h"

namespace mlbench::reports {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kShownFaults = 5;

ordered_json or_null(const std::string& text) { return text.empty() ? ordered_json(nullptr) : ordered_json(text); }

ordered_json json_of(const SoakFault& f) {
  return {{"seconds", finite(f.seconds)},
          {"time", f.time},
          {"iteration", f.iteration},
          {"workload", f.workload},
          {"call", f.call},
          {"method", f.method},
          {"sequence", f.sequence},
          {"position", f.position},
          {"tap", f.tap},
          {"element", f.element},
          {"expected", finite(f.expected)},
          {"computed", finite(f.computed)},
          {"expected_bits", or_null(f.expected_bits)},
          {"computed_bits", or_null(f.computed_bits)},
          {"bits", f.bits},
          {"straying", f.straying},
          {"wrong_calls", f.wrong_calls},
          {"with_taps", f.with_taps},
          {"again", name(f.again)},
          {"again_first", or_null(f.again_first)}};
}

ordered_json json_of(const TelemetrySeries& s) {
  ordered_json values = ordered_json::array();
  for (const auto& value : s.values) values.push_back(value ? finite(*value) : ordered_json(nullptr));
  return {{"name", s.name},           {"unit", s.unit},         {"counter", s.counter},
          {"least", finite(s.least)}, {"mean", finite(s.mean)}, {"most", finite(s.most)},
          {"first", finite(s.first)}, {"last", finite(s.last)}, {"values", values}};
}

ordered_json json_of(const Telemetry& t) {
  ordered_json series = ordered_json::array();
  for (const TelemetrySeries& one : t.series) series.push_back(json_of(one));
  return {{"sources", t.sources},
          {"not_known", t.not_known},
          {"warnings", t.warnings},
          {"seconds", t.seconds},
          {"series", series}};
}

std::string verdict_text(const SoakResults& r, bool color) {
  const std::string text(name(r.verdict()));
  if (!color) return text;
  return fmt::format("\x1b[{}m{}\x1b[0m", r.verdict() == BackendVerification::Verdict::passed ? 32 : 31, text);
}

std::string bits_text(const SoakFault& f) {
  if (f.expected_bits.empty()) return "";
  const std::string which = f.bits.size() == 1   ? fmt::format("bit {}", f.bits[0])
                            : f.bits.size() <= 8 ? fmt::format("bits {}", fmt::join(f.bits, ", "))
                                                 : fmt::format("{} bits", f.bits.size());
  return fmt::format(" ({} for {}: {} {})", f.computed_bits, f.expected_bits, which,
                     f.bits.size() == 1 ? "differs" : "differ");
}

std::string again_text(const SoakFault& f) {
  switch (f.again) {
    case Again::not_run: return "the iteration was not run again";
    case Again::transient: return "run again, the iteration was right: transient";
    case Again::repeatable:
      return "run again, with taps, the same value was wrong: repeatable; the first wrong one was then " +
             f.again_first;
    case Again::varies: return "run again, with taps, other values were wrong; the first one was then " + f.again_first;
  }
  return "";
}

std::string telemetry_text(const Telemetry& t) {
  Table table({{"machine", Align::left}, {"least", Align::right}, {"mean", Align::right}, {"most", Align::right}});
  for (const TelemetrySeries& s : t.series) {
    const std::string what = s.unit.empty() ? s.name : fmt::format("{}, {}", s.name, s.unit);
    if (s.counter) {
      table.add({what, number(s.first), fmt::format("{:+g}", s.last - s.first), number(s.last)});
    } else {
      table.add({what, number(s.least), number(s.mean), number(s.most)});
    }
  }
  std::string out = t.series.empty() ? "" : "\n" + table.text();
  if (!t.not_known.empty()) out += fmt::format("not known here: {}\n", fmt::join(t.not_known, ", "));
  for (const std::string& warning : t.warnings) out += fmt::format("warning: {}\n", warning);
  return out;
}

}  // namespace

std::string describe(const SoakFault& f) {
  const std::string when =
      f.iteration == 0 ? std::string("before the first iteration") : fmt::format("iteration {}", f.iteration);
  return fmt::format("after {:.3f} s ({}), {}, in {}, sequence {}, position {}: {} {} is {:.9g}, must be {:.9g}{}",
                     f.seconds, f.time, when, f.call, f.sequence, f.position, f.tap, f.element, f.computed, f.expected,
                     bits_text(f));
}

std::string to_text(const SoakResults& r, bool color) {
  std::string out = fmt::format("{} ({}) on {} ({}){}, dtype {}, {}\n", r.model, r.architecture, r.backend, r.version,
                                r.device.empty() ? "" : ", device " + r.device, r.dtype, counted(r.threads, "thread"));
  const auto add = [&](const std::string& line) { out += line + "\n"; };
  if (r.checks > 0) {
    add(fmt::format("checked run: {} against the float64 reference, largest error / limit {}", counted(r.checks, "tap"),
                    number(r.worst_ratio)));
    add(fmt::format("asked for: {}", r.criterion));
  }
  if (!r.check_failure.empty()) add("the checked run strays: " + r.check_failure);
  add(fmt::format("{} of {} in {:.1f} s, {} of them with taps ({}): {}, {}, {} values compared",
                  counted(r.iterations, "iteration"), counted(r.workloads, "workload"), r.seconds, r.with_taps, r.kept,
                  counted(r.calls, "call"), counted(r.rows, "row"), r.compared));
  out += telemetry_text(r.telemetry);
  out += "\n";
  for (std::size_t i = 0; i < std::min(kShownFaults, r.faults.size()); ++i) {
    add(fmt::format("wrong value: {}", describe(r.faults[i])));
    add(fmt::format("  {} of this tap in this call; {} of the iteration with a wrong value; {}",
                    counted(r.faults[i].straying, "element"), counted(r.faults[i].wrong_calls, "call"),
                    again_text(r.faults[i])));
  }
  if (r.wrong_iterations > 0) add(fmt::format("{} with a wrong value", counted(r.wrong_iterations, "iteration")));
  for (const Finding& finding : r.findings) add(fmt::format("{}: {}: {}", finding.code, finding.where, finding.text));
  if (!r.error.empty()) add("the backend failed: " + r.error);
  if (r.interrupted) add("interrupted: this is what was found so far");
  add(fmt::format("soak: {}", verdict_text(r, color)));
  return out;
}

ordered_json to_json(const SoakResults& r) {
  ordered_json faults = ordered_json::array(), findings = ordered_json::array(), facts = ordered_json::array();
  for (const SoakFault& fault : r.faults) faults.push_back(json_of(fault));
  for (const Finding& f : r.findings) findings.push_back({{"code", f.code}, {"where", f.where}, {"text", f.text}});
  for (const auto& [fact, value] : r.environment.facts) facts.push_back({{"name", fact}, {"value", value}});
  return {{"command", "soak"},
          {"verdict", name(r.verdict())},
          {"started", r.started},
          {"invocation", r.command},
          {"interrupted", r.interrupted},
          {"model", r.model},
          {"architecture", r.architecture},
          {"backend", r.backend},
          {"version", r.version},
          {"device", r.device},
          {"dtype", r.dtype},
          {"threads", r.threads},
          {"seed", r.seed},
          {"asked_seconds", finite(r.asked_seconds)},
          {"seconds", finite(r.seconds)},
          {"workloads", r.workloads},
          {"iterations", {{"all", r.iterations}, {"with_taps", r.with_taps}, {"wrong", r.wrong_iterations}}},
          {"reruns", r.reruns},
          {"calls", r.calls},
          {"rows", r.rows},
          {"values_compared", r.compared},
          {"kept", r.kept},
          {"bitwise", r.bitwise},
          {"criterion", r.criterion},
          {"checks", r.checks},
          {"worst_ratio", finite(r.worst_ratio)},
          {"check_failure", or_null(r.check_failure)},
          {"faults", faults},
          {"findings", findings},
          {"error", or_null(r.error)},
          {"environment", {{"facts", facts}, {"warnings", r.environment.warnings}}},
          {"telemetry", json_of(r.telemetry)}};
}

}  // namespace mlbench::reports
