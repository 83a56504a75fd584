// Google Benchmark's JSON, as its compare.py and what else reads it expect it.
#include <algorithm>
#include <array>
#include <charconv>
#include <unordered_map>

#include <fmt/format.h>

#include "reports/bench_fields.h"
#include "reports/bench_formats.h"
#include "reports/bench_report.h"
#include "reports/bench_row.h"
#include "reports/figures.h"

namespace mlbench::reports {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr double kNanoseconds = 1e9;

// ---- writing ----

// The number that a fact begins with, 0 where there is none.
int leading_number(const Environment& environment, std::string_view name) {
  const std::string text = environment.fact(name);
  int value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return std::max(value, 0);
}

ordered_json context_of(const BenchRun& run) {
  const std::string governor = run.environment.fact("governor");
  return {{"date", run.started},
          {"host_name", clean_text(run.environment.fact("host"))},
          {"executable", "mlbench"},
          {"num_cpus", leading_number(run.environment, "cpus")},
          {"mhz_per_cpu", 0},
          {"cpu_scaling_enabled", !governor.empty() && governor != "performance"},
          {"caches", ordered_json::array()},
          {"load_avg", ordered_json::array()},
          {"library_version", clean_text(run.environment.fact("mlbench"))},
          {"library_build_type", "release"},
          {"json_schema_version", 1}};
}

// What an iteration and an aggregate of it have in common. Only wall time is measured; it stands as CPU time, too,
// because readers ask for both.
ordered_json entry(const BenchRow& row, std::size_t family, const std::string& suffix, double nanoseconds) {
  const std::string run_name = clean_text(series_name(row.point, row.method));
  return {{"name", run_name + suffix},
          {"family_index", family},
          {"per_family_instance_index", 0},
          {"run_name", run_name},
          {"run_type", suffix.empty() ? "iteration" : "aggregate"},
          {"repetitions", row.samples.size()},
          {"threads", row.point.threads},
          {"iterations", suffix.empty() ? 1 : row.samples.size()},
          {"real_time", nanoseconds},
          {"cpu_time", nanoseconds},
          {"time_unit", "ns"},
          {"label", "check " + outcome(row)}};
}

void add_rates(ordered_json& out, const BenchRow& row, double seconds) {
  const double tokens = tokens_of(row);
  if (tokens > 0.0) out["items_per_second"] = tokens / seconds;
  if (tokens > 0.0 && row.bytes_per_token > 0.0) out["bytes_per_second"] = tokens * row.bytes_per_token / seconds;
}

void add_iterations(ordered_json& to, const BenchRow& row, std::size_t family) {
  for (std::size_t i = 0; i < row.samples.size(); ++i) {
    ordered_json out = entry(row, family, "", kNanoseconds * row.samples[i]);
    out["repetition_index"] = i;
    add_rates(out, row, row.samples[i]);
    // A reader must not take for a record what was computed wrong.
    if (!presentable(row)) {
      out["error_occurred"] = true;
      out["error_message"] = clean_text(remark(row));
    }
    to.push_back(std::move(out));
  }
}

void add_aggregates(ordered_json& to, const BenchRow& row, std::size_t family) {
  if (row.samples.size() < 2 || !presentable(row)) return;
  const Moments m = moments_of(row.samples);
  const auto add = [&](const char* name, const char* unit, double value) {
    ordered_json out = entry(row, family, fmt::format("_{}", name), value);
    out["aggregate_name"] = name;
    out["aggregate_unit"] = unit;
    to.push_back(std::move(out));
  };
  add("mean", "time", kNanoseconds * m.mean);
  add_rates(to.back(), row, m.mean);
  add("median", "time", kNanoseconds * m.median);
  add_rates(to.back(), row, m.median);
  add("stddev", "time", kNanoseconds * m.deviation);
  add("cv", "percentage", m.deviation / m.mean);
}

// ---- reading ----

double unit_of(Fields& fields) {
  if (!fields.has("time_unit")) return 1e-9;
  constexpr std::array<std::pair<const char*, double>, 4> kUnits = {
      {{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1.0}}};
  const std::string text = fields.text("time_unit");
  for (const auto& [name, seconds] : kUnits) {
    if (text == name) return seconds;
  }
  throw fields.fault("time_unit", "ns, us, ms or s");
}

bool is_iteration(Fields& fields) {
  if (fields.has("run_type")) return fields.text("run_type") == "iteration";
  return !fields.has("aggregate_name");  // files of old versions
}

bool is_true(Fields& fields, const std::string& name) {
  return fields.has(name) && fields.at(name).is_boolean() && fields.flag(name);
}

std::string text_or(Fields& fields, const std::string& name, const std::string& otherwise) {
  return fields.is_text(name) ? fields.text(name) : otherwise;
}

BenchRow empty_row(Fields& fields, const std::string& name) {
  BenchRow row;
  row.point.model = name;
  row.point.backend = "google-benchmark";
  row.point.threads = fields.has("threads") ? static_cast<int>(fields.count("threads")) : 0;
  row.method = "benchmark";
  return row;
}

void add_sample(BenchRow& row, Fields& fields) {
  if (is_true(fields, "error_occurred")) {
    row.error = text_or(fields, "error_message", "an error that is not described");
  } else if (is_true(fields, "skipped") || (fields.is_text("skipped") && fields.text("skipped") != "NOT_SKIPPED")) {
    row.unsupported = text_or(fields, "skip_message", "skipped");
  } else {
    row.samples.push_back(fields.time("real_time", unit_of(fields)));
  }
}

// A benchmark of which a repetition failed has no times that count.
void settle(BenchRow& row) {
  if (!row.error.empty() || !row.unsupported.empty()) row.samples.clear();
}

void read_context(BenchRun& run, Fields context) {
  run.started = text_or(context, "date", "");
  run.command = text_or(context, "executable", "");
  if (context.is_text("host_name")) run.environment.facts.emplace_back("host", context.text("host_name"));
  if (context.has("num_cpus")) run.environment.facts.emplace_back("cpus", fmt::to_string(context.count("num_cpus")));
  if (is_true(context, "cpu_scaling_enabled")) {
    run.environment.warnings.emplace_back("CPU frequency scaling was enabled");
  }
  if (text_or(context, "library_build_type", "") == "debug") {
    run.environment.warnings.emplace_back("the benchmark library was built as debug");
  }
}

}  // namespace

std::string to_google_benchmark(const BenchRun& run) {
  ordered_json benchmarks = ordered_json::array();
  for (std::size_t i = 0; i < run.rows.size(); ++i) {
    add_iterations(benchmarks, run.rows[i], i);
    add_aggregates(benchmarks, run.rows[i], i);
  }
  const ordered_json document = {{"context", context_of(run)}, {"benchmarks", benchmarks}};
  return document.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

BenchRun run_from_google_benchmark(const json& document, const std::string& where) {
  Fields fields(document, where, "");
  BenchRun run;
  run.checked = false;
  if (fields.has("context")) read_context(run, fields.object("context"));
  std::unordered_map<std::string, std::size_t> index;
  for (Fields& entry : fields.objects("benchmarks")) {
    if (!is_iteration(entry)) continue;
    const std::string name = entry.text(entry.has("run_name") ? "run_name" : "name");
    const auto [it, fresh] = index.try_emplace(name, run.rows.size());
    if (fresh) run.rows.push_back(empty_row(entry, name));
    add_sample(run.rows[it->second], entry);
  }
  if (run.rows.empty()) {
    throw format_error(fields.place("benchmarks"),
                       "has no iteration; write the file without --benchmark_report_aggregates_only");
  }
  std::ranges::for_each(run.rows, settle);
  return run;
}

}  // namespace mlbench::reports
