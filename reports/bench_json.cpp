// Our own format of benchmark runs, written and read, and that of comparisons. bench.schema.json is the schema.
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "core/json.h"
#include "reports/bench_fields.h"
#include "reports/bench_formats.h"
#include "reports/bench_report.h"

namespace mlbench::reports {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// ---- writing ----

// JSON has no place for what is not finite, and the round trip is to keep it.
ordered_json figure_json(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0.0 ? "inf" : "-inf";
}

ordered_json or_null(const std::string& text) { return text.empty() ? ordered_json(nullptr) : ordered_json(text); }
ordered_json or_null(const std::optional<double>& value) { return value ? figure_json(*value) : ordered_json(nullptr); }

ordered_json estimate_json(const Estimate& e) {
  return {{"value", figure_json(e.value)}, {"low", figure_json(e.low)}, {"high", figure_json(e.high)}};
}
ordered_json or_null(const std::optional<Estimate>& e) { return e ? estimate_json(*e) : ordered_json(nullptr); }

template <class Values, class Function>
ordered_json list_of(const Values& values, const Function& json_of) {
  ordered_json out = ordered_json::array();
  for (const auto& value : values) out.push_back(json_of(value));
  return out;
}

ordered_json ranks_json(const RankTimes& r) {
  return {{"rank", r.rank},
          {"host", r.host},
          {"pinned", r.pinned},
          {"compute_seconds", figure_json(r.compute_seconds)},
          {"communication_seconds", figure_json(r.communication_seconds)},
          {"waiting_seconds", figure_json(r.waiting_seconds)},
          {"reduced_bytes", r.reduced_bytes},
          {"sent_bytes", r.sent_bytes},
          {"transfer_seconds", figure_json(r.transfer_seconds)},
          {"transferred_bytes", r.transferred_bytes},
          {"peak_memory_bytes", r.peak_memory_bytes}};
}

ordered_json or_null(const std::optional<Scaling>& s) {
  if (!s) return nullptr;
  return {{"speedup", figure_json(s->speedup)}, {"efficiency", or_null(s->efficiency)}};
}

ordered_json row_json(const BenchRow& r) {
  return {{"point", to_json(r.point)},
          {"method", r.method},
          {"decode", r.decode},
          {"samples", list_of(r.samples, figure_json)},
          {"steps", list_of(r.steps, [](const auto& steps) { return list_of(steps, figure_json); })},
          {"started", list_of(r.started, figure_json)},
          {"warmup_repetitions", r.warmup_repetitions},
          {"warmup_seconds", r.warmup_seconds},
          {"steady", r.steady},
          {"stop", name(r.stop)},
          {"median", or_null(r.median)},
          {"tokens_per_second", or_null(r.tokens_per_second)},
          {"spread", figure_json(r.spread)},
          {"p50", or_null(r.p50)},
          {"p90", or_null(r.p90)},
          {"p99", or_null(r.p99)},
          {"check", name(r.check)},
          {"check_ratio", figure_json(r.check_ratio)},
          {"check_text", or_null(r.check_text)},
          {"floor_seconds", figure_json(r.floor_seconds)},
          {"flops_per_token", figure_json(r.flops_per_token)},
          {"bytes_per_token", figure_json(r.bytes_per_token)},
          {"mfu", or_null(r.mfu)},
          {"mbu", or_null(r.mbu)},
          {"joules_per_token", or_null(r.joules_per_token)},
          {"peak_memory_bytes", r.peak_memory_bytes},
          {"ranks", list_of(r.ranks, ranks_json)},
          {"scaling", or_null(r.scaling)},
          {"unsupported", or_null(r.unsupported)},
          {"error", or_null(r.error)}};
}

ordered_json probe_json(const ProbeResult& p) {
  return {{"backend", p.backend},
          {"device", p.device},
          {"dtype", p.dtype},
          {"threads", p.threads},
          {"read_bytes_per_second", figure_json(p.read_bytes_per_second)},
          {"flops_per_second", figure_json(p.flops_per_second)}};
}

ordered_json fact_json(const std::pair<std::string, std::string>& fact) {
  return {{"name", fact.first}, {"value", fact.second}};
}

ordered_json compared_json(const ComparedRow& r) {
  ordered_json out = {{"point", to_json(r.point)},        {"method", r.method},
                      {"base_samples", r.base_samples},   {"new_samples", r.new_samples},
                      {"base_median", r.base_median},     {"new_median", r.new_median},
                      {"ratio", estimate_json(r.ratio)},  {"p_value", figure_json(r.p_value)},
                      {"difference", name(r.difference)}, {"samples_to_decide", r.samples_to_decide},
                      {"not_compared", nullptr}};
  if (r.not_compared.empty()) return out;
  for (const char* field : {"base_median", "new_median", "ratio", "p_value", "difference"}) out[field] = nullptr;
  out["not_compared"] = r.not_compared;
  return out;
}

// ---- reading ----

std::string text_or_null(Fields& fields, const std::string& name) {
  return fields.at(name).is_null() ? "" : fields.text(name);
}

std::optional<double> figure_or_null(Fields& fields, const std::string& name) {
  if (fields.at(name).is_null()) return std::nullopt;
  return fields.figure(name);
}

std::optional<Estimate> estimate_or_null(Fields& fields, const std::string& name) {
  if (fields.at(name).is_null()) return std::nullopt;
  Fields parts = fields.object(name);
  const Estimate out{parts.figure("value"), parts.figure("low"), parts.figure("high")};
  parts.expect_no_more();
  return out;
}

template <class Enum>
Enum one_of(Fields& fields, const std::string& name, std::optional<Enum> (*parse)(std::string_view),
            const std::string& names) {
  const std::optional<Enum> value = parse(fields.text(name));
  if (!value) throw fields.fault(name, "one of " + names);
  return *value;
}

BenchPoint point_of(Fields fields) {
  BenchPoint p;
  p.model = fields.text("model");
  p.architecture = fields.text("architecture");
  p.backend = fields.text("backend");
  p.device = fields.text("device");
  p.dtype = fields.text("dtype");
  p.threads = static_cast<int>(fields.count("threads"));
  p.batch = fields.count("batch");
  p.prompt = fields.count("prompt");
  p.gen = fields.count("gen");
  p.depth = fields.count("depth");
  p.page_size = fields.count("page_size");
  p.tensor_parallel = fields.count("tensor_parallel");
  p.pipeline_parallel = fields.count("pipeline_parallel");
  if (fields.has("disaggregated")) p.disaggregated = fields.flag("disaggregated");  // older runs do not
  if (fields.has("replicas")) p.replicas = fields.count("replicas");                // the same
  fields.expect_no_more();
  return p;
}

// What the schema cannot say: lists that belong together are as long as each other.
void expect_consistent(const Fields& fields, const BenchRow& row) {
  const std::size_t n = row.samples.size();
  if (!row.started.empty() && row.started.size() != n)
    throw format_error(fields.place("started"), "must be as many as samples, or none");
  if (!row.steps.empty() && row.steps.size() != n)
    throw format_error(fields.place("steps"), "must be as many as samples, or none");
}

RankTimes ranks_of(Fields& fields) {
  RankTimes r;
  r.rank = fields.count("rank");
  r.host = fields.text("host");
  r.pinned = fields.flag("pinned");
  r.compute_seconds = fields.figure("compute_seconds");
  r.communication_seconds = fields.figure("communication_seconds");
  r.waiting_seconds = fields.figure("waiting_seconds");
  r.reduced_bytes = fields.whole("reduced_bytes");
  r.sent_bytes = fields.whole("sent_bytes");
  if (fields.has("transfer_seconds")) {
    r.transfer_seconds = fields.figure("transfer_seconds");
    r.transferred_bytes = fields.whole("transferred_bytes");
  }
  r.peak_memory_bytes = fields.whole("peak_memory_bytes");
  fields.expect_no_more();
  return r;
}

std::optional<Scaling> scaling_of(Fields& fields) {
  if (!fields.has("scaling")) {
    fields.pass_over("scaling");
    return std::nullopt;
  }
  Fields parts = fields.object("scaling");
  Scaling out{parts.figure("speedup"), figure_or_null(parts, "efficiency")};
  parts.expect_no_more();
  return out;
}

BenchRow row_of(Fields fields) {
  BenchRow r;
  r.point = point_of(fields.object("point"));
  r.method = fields.text("method");
  r.decode = fields.flag("decode");
  r.samples = fields.times("samples");
  r.steps = fields.lists_of_times("steps");
  r.started = fields.moments("started");
  r.warmup_repetitions = fields.count("warmup_repetitions");
  r.warmup_seconds = fields.seconds("warmup_seconds");
  r.steady = fields.flag("steady");
  r.stop = one_of(fields, "stop", parse_bench_stop, "precision, max_time, interrupted");
  r.median = estimate_or_null(fields, "median");
  r.tokens_per_second = estimate_or_null(fields, "tokens_per_second");
  r.spread = fields.figure("spread");
  r.p50 = figure_or_null(fields, "p50");
  r.p90 = figure_or_null(fields, "p90");
  r.p99 = figure_or_null(fields, "p99");
  r.check = one_of(fields, "check", parse_bench_check, "passed, sampled, failed, implausible, unchecked");
  r.check_ratio = fields.figure("check_ratio");
  r.check_text = text_or_null(fields, "check_text");
  r.floor_seconds = fields.figure("floor_seconds");
  r.flops_per_token = fields.figure("flops_per_token");
  r.bytes_per_token = fields.figure("bytes_per_token");
  r.mfu = figure_or_null(fields, "mfu");
  r.mbu = figure_or_null(fields, "mbu");
  r.joules_per_token = figure_or_null(fields, "joules_per_token");
  r.peak_memory_bytes = fields.whole("peak_memory_bytes");
  // Runs from before models could be split have neither.
  if (fields.has("ranks")) {
    for (Fields& rank : fields.objects("ranks")) r.ranks.push_back(ranks_of(rank));
  }
  r.scaling = scaling_of(fields);
  r.unsupported = text_or_null(fields, "unsupported");
  r.error = text_or_null(fields, "error");
  fields.expect_no_more();
  expect_consistent(fields, r);
  return r;
}

ProbeResult probe_of(Fields fields) {
  ProbeResult p;
  p.backend = fields.text("backend");
  p.device = fields.text("device");
  p.dtype = fields.text("dtype");
  p.threads = static_cast<int>(fields.count("threads"));
  p.read_bytes_per_second = fields.figure("read_bytes_per_second");
  p.flops_per_second = fields.figure("flops_per_second");
  fields.expect_no_more();
  return p;
}

Environment environment_of(Fields fields) {
  Environment out;
  for (Fields& fact : fields.objects("facts")) {
    out.facts.emplace_back(fact.text("name"), fact.text("value"));
    fact.expect_no_more();
  }
  out.warnings = fields.texts("warnings");
  fields.expect_no_more();
  return out;
}

void expect_format(Fields& fields, const char* format, const char* made_by) {
  if (fields.text("format") != format) throw fields.fault("format", fmt::format("{}, {}", format, made_by));
  if (fields.whole("version") != kBenchVersion) {
    throw fields.fault("version", fmt::format("{}, the one that this mlbench reads", kBenchVersion));
  }
}

}  // namespace

ordered_json to_json(const BenchPoint& p) {
  return {{"model", p.model},
          {"architecture", p.architecture},
          {"backend", p.backend},
          {"device", p.device},
          {"dtype", p.dtype},
          {"threads", p.threads},
          {"batch", p.batch},
          {"prompt", p.prompt},
          {"gen", p.gen},
          {"depth", p.depth},
          {"page_size", p.page_size},
          {"tensor_parallel", p.tensor_parallel},
          {"pipeline_parallel", p.pipeline_parallel},
          {"disaggregated", p.disaggregated},
          {"replicas", p.replicas}};
}

BenchPoint point_from_json(const json& point, const std::string& where) { return point_of(Fields(point, where, "")); }

ordered_json to_json(const BenchRun& run) {
  return {
      {"format", kRunFormat},
      {"version", kBenchVersion},
      {"started", run.started},
      {"command_line", run.command},
      {"seed", run.seed},
      {"precision", run.precision},
      {"confidence", run.confidence},
      {"max_time", figure_json(run.max_time)},
      {"checked", run.checked},
      {"interrupted", run.interrupted},
      {"shard", run.shard},
      {"shards", run.shards},
      {"environment", {{"facts", list_of(run.environment.facts, fact_json)}, {"warnings", run.environment.warnings}}},
      {"probes", list_of(run.probes, probe_json)},
      {"rows", list_of(run.rows, row_json)}};
}

ordered_json to_json(const BenchComparison& comparison) {
  return {{"format", kComparisonFormat},
          {"version", kBenchVersion},
          {"base", comparison.base},
          {"new", comparison.next},
          {"floor", comparison.floor},
          {"confidence", comparison.confidence},
          {"rows", list_of(comparison.rows, compared_json)},
          {"only_base", comparison.only_base},
          {"only_new", comparison.only_new},
          {"warnings", comparison.warnings}};
}

ordered_json to_json(std::span<const ProbeResult> probes) {
  return {{"format", kProbeFormat}, {"version", kBenchVersion}, {"probes", list_of(probes, probe_json)}};
}

BenchRun run_from_json(const json& document, const std::string& where) {
  Fields fields(document, where, "");
  expect_format(fields, kRunFormat, "a run of mlbench bench");
  BenchRun run;
  run.started = fields.text("started");
  run.command = fields.text("command_line");
  run.seed = fields.whole("seed");
  run.precision = fields.number("precision");
  run.confidence = fields.number("confidence");
  run.max_time = fields.figure("max_time");
  run.checked = fields.flag("checked");
  run.interrupted = fields.flag("interrupted");
  run.shard = fields.count("shard");
  run.shards = fields.count("shards");
  run.environment = environment_of(fields.object("environment"));
  for (Fields& probe : fields.objects("probes")) run.probes.push_back(probe_of(std::move(probe)));
  for (Fields& row : fields.objects("rows")) run.rows.push_back(row_of(std::move(row)));
  fields.expect_no_more();
  return run;
}

std::vector<ProbeResult> read_probes(const std::string& text, const std::string& path) {
  const std::string where = one_line(path);
  const json document = parse_json(text, where, "bench.format", "bench.format");
  Fields fields(document, where, "");
  expect_format(fields, kProbeFormat, "a result of mlbench probe");
  std::vector<ProbeResult> out;
  for (Fields& probe : fields.objects("probes")) out.push_back(probe_of(std::move(probe)));
  fields.expect_no_more();
  return out;
}

}  // namespace mlbench::reports
