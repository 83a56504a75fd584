// Benchmark runs for dashboards: OpenMetrics text, and github-action-benchmark's custom JSON.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "reports/bench_report.h"
#include "reports/bench_row.h"
#include "reports/figures.h"

namespace mlbench::reports {
namespace {

using nlohmann::ordered_json;
using Value = std::optional<double>;

// ---- OpenMetrics ----

std::string label(const std::string& name, const std::string& value) {
  std::string escaped;
  for (const char c : clean_text(value)) {
    if (c == '\\' || c == '"') escaped += '\\';
    escaped += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return fmt::format("{}=\"{}\"", name, escaped);
}

std::string joined(const std::vector<std::pair<std::string, std::string>>& labels) {
  std::string out;
  for (const auto& [name, value] : labels) out += (out.empty() ? "" : ",") + label(name, value);
  return out;
}

std::string labels_of(const BenchRow& row) {
  const BenchPoint& p = row.point;
  return joined({{"model", p.model},
                 {"architecture", p.architecture},
                 {"backend", p.backend},
                 {"device", p.device},
                 {"dtype", p.dtype},
                 {"threads", fmt::to_string(p.threads)},
                 {"batch", fmt::to_string(p.batch)},
                 {"prompt", fmt::to_string(p.prompt)},
                 {"gen", fmt::to_string(p.gen)},
                 {"depth", fmt::to_string(p.depth)},
                 {"page_size", fmt::to_string(p.page_size)},
                 {"tensor_parallel", fmt::to_string(p.tensor_parallel)},
                 {"pipeline_parallel", fmt::to_string(p.pipeline_parallel)},
                 {"disaggregated", p.disaggregated ? "1" : "0"},
                 {"replicas", fmt::to_string(p.replicas)},
                 {"method", row.method},
                 {"check", outcome(row)}});
}

std::string labels_of(const ProbeResult& probe) {
  return joined({{"backend", probe.backend},
                 {"device", probe.device},
                 {"dtype", probe.dtype},
                 {"threads", fmt::to_string(probe.threads)}});
}

struct Family {
  const char* name;
  const char* unit;  // that the name ends with, or ""
  const char* help;
};

// The lines of one family; nothing where nobody has a value. A series that comes again would make all of it invalid.
class Lines {
 public:
  explicit Lines(const Family& family) : family_(family) {}

  void add(const std::string& labels, const Value& value) {
    if (!value || !seen_.insert(labels).second) return;
    lines_ += fmt::format("{}{{{}}} {}\n", family_.name, labels, exact_figure(*value));
  }
  [[nodiscard]] std::string text() const {
    if (lines_.empty()) return "";
    const std::string unit = *family_.unit == '\0' ? "" : fmt::format("# UNIT {} {}\n", family_.name, family_.unit);
    return fmt::format("# TYPE {} gauge\n{}# HELP {} {}\n{}", family_.name, unit, family_.name, family_.help, lines_);
  }

 private:
  const Family& family_;
  std::set<std::string> seen_;
  std::string lines_;
};

struct RowFamily {
  Family family;
  Value (*value)(const BenchRow&);
  bool throughput = true;  // left out where a check refutes it
};

Value known(double value) { return value > 0.0 ? Value(value) : std::nullopt; }
Value part(const std::optional<Estimate>& estimate, double Estimate::*which) {
  return estimate ? Value((*estimate).*which) : std::nullopt;
}

constexpr std::array<RowFamily, 15> kFamilies = {{
    {{"mlbench_verified", "", "1 where the outputs of the timed repetitions were compared and are right."},
     [](const BenchRow& r) { return Value(presentable(r) && r.check != BenchCheck::unchecked ? 1.0 : 0.0); },
     false},
    {{"mlbench_repetitions", "", "Timed repetitions."},
     [](const BenchRow& r) { return Value(static_cast<double>(r.samples.size())); }},
    {{"mlbench_tokens_per_second", "", "Throughput through the median of the repetitions."},
     [](const BenchRow& r) { return part(r.tokens_per_second, &Estimate::value); }},
    {{"mlbench_tokens_per_second_low", "", "Lower end of the interval of mlbench_tokens_per_second."},
     [](const BenchRow& r) { return part(r.tokens_per_second, &Estimate::low); }},
    {{"mlbench_tokens_per_second_high", "", "Upper end of the interval of mlbench_tokens_per_second."},
     [](const BenchRow& r) { return part(r.tokens_per_second, &Estimate::high); }},
    {{"mlbench_repetition_seconds", "seconds", "Median time of a repetition."},
     [](const BenchRow& r) { return part(r.median, &Estimate::value); }},
    {{"mlbench_step_p50_seconds", "seconds", "Median time of a step; of prefill, the time to first token."},
     [](const BenchRow& r) { return r.p50; }},
    {{"mlbench_step_p90_seconds", "seconds", "Time that 90% of the steps keep to."},
     [](const BenchRow& r) { return r.p90; }},
    {{"mlbench_step_p99_seconds", "seconds", "Time that 99% of the steps keep to."},
     [](const BenchRow& r) { return r.p99; }},
    {{"mlbench_mfu_ratio", "ratio", "Share of the device's measured rate of products."},
     [](const BenchRow& r) { return r.mfu; }},
    {{"mlbench_mbu_ratio", "ratio", "Share of the device's measured read bandwidth."},
     [](const BenchRow& r) { return r.mbu; }},
    {{"mlbench_token_joules", "joules", "Energy of a token."}, [](const BenchRow& r) { return r.joules_per_token; }},
    {{"mlbench_token_bytes", "bytes", "Bytes that the model needs for a token."},
     [](const BenchRow& r) { return known(r.bytes_per_token); }},
    {{"mlbench_token_flops", "", "Floating-point operations that the model needs for a token."},
     [](const BenchRow& r) { return known(r.flops_per_token); }},
    {{"mlbench_peak_memory_bytes", "bytes", "Peak memory of the process when the row was done."},
     [](const BenchRow& r) { return known(static_cast<double>(r.peak_memory_bytes)); }},
}};

constexpr Family kRunInfo = {"mlbench_run_info", "", "Where and when the run took place; always 1."};
constexpr Family kInterrupted = {"mlbench_run_interrupted", "", "1 where the run was broken off by its user."};
constexpr Family kWarnings = {"mlbench_run_warnings", "", "How many circumstances make the figures doubtful."};
constexpr Family kProbeRead = {"mlbench_probe_read_bytes_per_second", "", "Read bandwidth that the device reaches."};
constexpr Family kProbeFlops = {"mlbench_probe_flops_per_second", "", "Rate of products that the device reaches."};

std::string one(const Family& family, const std::string& labels, double value) {
  Lines lines(family);
  lines.add(labels, value);
  return lines.text();
}

std::string run_lines(const BenchRun& run) {
  const Environment& e = run.environment;
  const std::string info = joined({{"started", run.started},
                                   {"commit", e.fact("mlbench commit")},
                                   {"cpu", e.fact("cpu")},
                                   {"kernel", e.fact("kernel")},
                                   {"checked", run.checked ? "true" : "false"}});
  return one(kRunInfo, info, 1.0) + one(kInterrupted, "", run.interrupted ? 1.0 : 0.0) +
         one(kWarnings, "", static_cast<double>(e.warnings.size()));
}

// ---- github-action-benchmark ----

// An entry of its custom format; `range` is text that it shows beside the value.
ordered_json entry(const BenchRow& row, const std::string& what, const char* unit, double value,
                   const std::string& range) {
  std::string extra = fmt::format("check {}, {}, ended by {}", outcome(row),
                                  counted(static_cast<long long>(row.samples.size()), "sample"), name(row.stop));
  if (!row.check_text.empty()) extra += "; " + row.check_text;
  ordered_json out = {{"name", clean_text(fmt::format("{} {}", series_name(row.point, row.method), what))},
                      {"unit", unit},
                      {"value", value},
                      {"extra", clean_text(extra)}};
  if (!range.empty()) out["range"] = range;
  return out;
}

std::string dumped(const ordered_json& entries) {
  return entries.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string to_open_metrics(const BenchRun& run) {
  std::string out = run_lines(run);
  for (const RowFamily& of : kFamilies) {
    Lines lines(of.family);
    for (const BenchRow& row : run.rows) {
      if (row.samples.empty() || (of.throughput && !presentable(row))) continue;
      lines.add(labels_of(row), of.value(row));
    }
    out += lines.text();
  }
  Lines read(kProbeRead), flops(kProbeFlops);
  for (const ProbeResult& probe : run.probes) {
    read.add(labels_of(probe), known(probe.read_bytes_per_second));
    flops.add(labels_of(probe), known(probe.flops_per_second));
  }
  return out + read.text() + flops.text() + "# EOF\n";
}

std::string to_action_bigger_is_better(const BenchRun& run) {
  ordered_json entries = ordered_json::array();
  for (const BenchRow& row : run.rows) {
    if (!presentable(row) || !row.tokens_per_second) continue;
    const std::string range = "\xc2\xb1 " + plus_minus(*row.tokens_per_second);
    entries.push_back(entry(row, "throughput", "tokens/s", row.tokens_per_second->value, range));
  }
  return dumped(entries);
}

std::string to_action_smaller_is_better(const BenchRun& run) {
  ordered_json entries = ordered_json::array();
  for (const BenchRow& row : run.rows) {
    if (!presentable(row)) continue;
    if (row.median)
      entries.push_back(entry(row, "time", "ms", 1e3 * row.median->value, "\xc2\xb1 " + plus_minus(*row.median)));
    const auto add = [&](const char* what, const char* unit, double scale, const Value& value) {
      if (value) entries.push_back(entry(row, what, unit, scale * *value, ""));
    };
    add("p90", "ms", 1e3, row.p90);
    add("p99", "ms", 1e3, row.p99);
    add("energy", "J/token", 1.0, row.joules_per_token);
    if (row.peak_memory_bytes > 0) add("memory", "MiB", 0x1p-20, static_cast<double>(row.peak_memory_bytes));
  }
  return dumped(entries);
}

}  // namespace mlbench::reports
