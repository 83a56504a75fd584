#include "reports/store/contents.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "core/json.h"
#include "reports/bench_fields.h"
#include "reports/bench_report.h"
#include "reports/figures.h"
#include "reports/store/times.h"

namespace mlbench::reports {
namespace {

using nlohmann::json;

constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr std::array kModes = {"isolated", "chained", "exact"};

// The first of these that any part has.
std::string worst_of(const std::vector<std::string>& verdicts) {
  for (const char* verdict : {"error", "failed", "untrusted", "unchecked", "passed"}) {
    if (std::ranges::find(verdicts, verdict) != verdicts.end()) return verdict;
  }
  return "unsupported";
}

// ---- verifications ----

// JSON has no number that is not finite: such a one is null.
double figure(Fields& fields, const std::string& name) {
  return fields.at(name).is_null() ? kInfinite : fields.number(name);
}

// "layers.3.attn.q" is kind "attn.q" of layer 3.
std::pair<std::string, Index> kind_and_layer(const std::string& tap) {
  constexpr std::string_view kLayers = "layers.";
  if (!tap.starts_with(kLayers)) return {tap, -1};
  const std::size_t end = tap.find('.', kLayers.size());
  const std::string digits = tap.substr(kLayers.size(), end - kLayers.size());
  constexpr std::size_t kMostDigits = 9;
  if (end == std::string::npos || digits.empty() || digits.size() > kMostDigits ||
      digits.find_first_not_of("0123456789") != std::string::npos)
    return {tap, -1};
  return {tap.substr(end + 1), std::stol(digits)};
}

std::string mode_of(Fields& fields) {
  std::string mode = fields.text("mode");
  if (std::ranges::find(kModes, mode) == kModes.end()) throw fields.fault("mode", "isolated, chained or exact");
  return mode;
}

std::string verdict_in(Fields& fields) {
  std::string verdict = fields.text("verdict");
  for (const char* known : {"passed", "failed", "untrusted", "error", "unsupported"}) {
    if (verdict == known) return verdict;
  }
  throw fields.fault("verdict", "passed, failed, untrusted, error or unsupported");
}

StoredVerification part_of(Fields& fields) {
  StoredVerification out;
  out.model = fields.text("model");
  out.architecture = fields.text("architecture");
  out.backend = fields.text("backend");
  out.dtype = fields.text("dtype");
  out.verdict = verdict_in(fields);
  return out;
}

// A mode that no tap was checked in has no worst ratio; one whose worst is not a number has null, too.
std::optional<double> worst_ratio(Fields& ratios, const char* mode, const std::vector<StoredTap>& taps, Index part) {
  const bool checked = std::ranges::any_of(taps, [&](const StoredTap& t) { return t.part == part && t.mode == mode; });
  if (ratios.at(mode).is_null() && !checked) return std::nullopt;
  return figure(ratios, mode);
}

void add_backend(Fields& fields, RunContents& out) {
  const auto part = static_cast<Index>(out.verifications.size());
  StoredVerification v = part_of(fields);
  v.backend_version = fields.text("version");
  v.device = fields.text("device");
  Fields split = fields.object("split");
  v.tensor_parallel = split.count("tensor_parallel");
  v.pipeline_parallel = split.count("pipeline_parallel");
  v.disaggregated = split.flag("disaggregated");
  if (split.has("replicas")) v.replicas = split.count("replicas");  // earlier versions had none
  v.checks = fields.count("checks");
  v.failed = fields.count("failed");
  for (Fields& tap : fields.objects("taps")) {
    const auto [kind, layer] = kind_and_layer(tap.text("tap"));
    out.taps.push_back({.part = part,
                        .kind = kind,
                        .layer = layer,
                        .mode = mode_of(tap),
                        .ratio = figure(tap, "ratio"),
                        .error = figure(tap, "error"),
                        .limit = figure(tap, "limit"),
                        .failed = tap.count("failed")});
  }
  Fields ratios = fields.object("worst_ratio");
  v.isolated = worst_ratio(ratios, "isolated", out.taps, part);
  v.chained = worst_ratio(ratios, "chained", out.taps, part);
  v.exact = worst_ratio(ratios, "exact", out.taps, part);
  out.verifications.push_back(std::move(v));
}

// The reference, which ran freely. Its document has every comparison; of a tap the worst is kept.
void add_golden(Fields& fields, RunContents& out) {
  StoredVerification v = part_of(fields);
  std::map<std::string, std::size_t> index;
  for (Fields& comparison : fields.objects("taps")) {
    const std::string tap = comparison.text("tap");
    const auto [kind, layer] = kind_and_layer(tap);
    const auto [at, fresh] = index.try_emplace(tap, out.taps.size());
    const double ratio = figure(comparison, "ratio");
    const bool failed = comparison.text("verdict") == "failed";
    if (fresh) out.taps.push_back({.kind = kind, .layer = layer, .mode = "chained"});
    StoredTap& stored = out.taps[at->second];
    if (fresh || worse(ratio, stored.ratio)) {
      stored.ratio = ratio;
      stored.error = figure(comparison, "max_error");
      stored.limit = figure(comparison, "limit");
    }
    stored.failed += failed ? 1 : 0;
    v.failed += failed ? 1 : 0;
    ++v.checks;
    v.chained = std::max(v.chained.value_or(0.0), ratio);
  }
  out.verifications.push_back(std::move(v));
}

RunContents verification_contents(const json& document, const std::string& where) {
  RunContents out;
  out.head.kind = StoredKind::verification;
  out.head.program = "mlbench";
  Fields fields(document, where, "");
  if (fields.has("runs")) {
    for (Fields& run : fields.objects("runs")) add_backend(run, out);
  } else {
    add_golden(fields, out);
  }
  std::vector<std::string> verdicts;
  for (const StoredVerification& v : out.verifications) verdicts.push_back(v.verdict);
  out.head.verdict = worst_of(verdicts);
  return out;
}

// ---- benchmarks ----

std::string check_of(const BenchRow& row) {
  if (!row.unsupported.empty()) return "unsupported";
  return row.error.empty() ? std::string(name(row.check)) : "error";
}

std::string verdict_of_check(const std::string& check) {
  if (check == "implausible") return "failed";
  return check == "sampled" ? "passed" : check;
}

StoredRow stored(const BenchRow& row) {
  return {.point = row.point,
          .method = row.method,
          .decode = row.decode,
          .tokens_per_second = row.tokens_per_second,
          .median = row.median,
          .samples = static_cast<Index>(row.samples.size()),
          .check = check_of(row),
          .mfu = row.mfu,
          .mbu = row.mbu,
          .joules_per_token = row.joules_per_token,
          .flops_per_token = row.flops_per_token,
          .bytes_per_token = row.bytes_per_token,
          .peak_memory_bytes = row.peak_memory_bytes};
}

RunContents benchmark_contents(const std::string& document, const std::string& where, const std::string& program) {
  const BenchRun run = read_bench_run(document, where);
  RunContents out;
  out.head.kind = StoredKind::benchmark;
  out.head.program = program;
  out.head.started = utc_from(run.started).value_or("");
  out.head.command = run.command;
  out.head.host = run.environment.fact("host");
  out.head.processor = run.environment.fact("cpu");
  if (program == "mlbench") out.head.program = program_of(run.environment);
  std::vector<std::string> verdicts;
  for (const BenchRow& row : run.rows) {
    out.rows.push_back(stored(row));
    verdicts.push_back(verdict_of_check(out.rows.back().check));
  }
  // Of one that was interrupted before its first row nothing is known.
  out.head.verdict = run.rows.empty() ? "unchecked" : worst_of(verdicts);
  out.probes = run.probes;
  out.facts = run.environment.facts;
  return out;
}

}  // namespace

std::string program_of(const Environment& environment) {
  const std::string version = environment.fact("mlbench"), commit = environment.fact("mlbench commit");
  return "mlbench" + (version.empty() ? "" : " " + version) + (commit.empty() ? "" : fmt::format(" ({})", commit));
}

RunContents contents_of(const std::string& document, const std::string& where) {
  // llama-bench's lines are no JSON as a whole: what does not parse is read_bench_run's to judge.
  const json parsed = json::parse(document, nullptr, false);
  if (!parsed.is_object() || parsed.contains("samples_ns")) return benchmark_contents(document, where, "llama-bench");
  if (parsed.contains("format")) return benchmark_contents(document, where, "mlbench");
  if (parsed.contains("benchmarks")) return benchmark_contents(document, where, "google-benchmark");
  if (parsed.value("command", json()) != "verify")
    throw format_error(one_line(where),
                       "is no result of mlbench verify (\"command\") or bench (\"format\"), Google Benchmark "
                       "(\"benchmarks\") or llama-bench (\"samples_ns\")");
  try {
    return verification_contents(parse_json(document, one_line(where), "verify.format", "verify.format"),
                                 one_line(where));
  } catch (const Error& error) {
    if (error.code() != "bench.format") throw;
    throw request_error("verify.format", error.message());
  }
}

}  // namespace mlbench::reports
