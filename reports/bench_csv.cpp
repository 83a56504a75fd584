// Rows as comma-separated values (RFC 4180), for spreadsheets and data frames.
#include <array>
#include <cmath>
#include <functional>

#include <fmt/format.h>

#include "reports/bench_report.h"
#include "reports/bench_row.h"
#include "reports/figures.h"

namespace mlbench::reports {
namespace {

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

// Empty where it is not known.
std::string cell(double value) { return std::isfinite(value) ? exact_figure(value) : ""; }
std::string cell(const std::optional<double>& value) { return value ? cell(*value) : ""; }
std::string known(double value) { return value > 0.0 ? cell(value) : ""; }
std::string part(const std::optional<Estimate>& estimate, double Estimate::*which) {
  return estimate ? cell((*estimate).*which) : "";
}

struct Column {
  const char* title;
  std::string (*cell)(const BenchRow&);
};

constexpr std::array<Column, 39> kColumns = {{
    {"model", [](const BenchRow& r) { return r.point.model; }},
    {"architecture", [](const BenchRow& r) { return r.point.architecture; }},
    {"backend", [](const BenchRow& r) { return r.point.backend; }},
    {"device", [](const BenchRow& r) { return r.point.device; }},
    {"dtype", [](const BenchRow& r) { return r.point.dtype; }},
    {"threads", [](const BenchRow& r) { return fmt::to_string(r.point.threads); }},
    {"batch", [](const BenchRow& r) { return fmt::to_string(r.point.batch); }},
    {"prompt", [](const BenchRow& r) { return fmt::to_string(r.point.prompt); }},
    {"gen", [](const BenchRow& r) { return fmt::to_string(r.point.gen); }},
    {"depth", [](const BenchRow& r) { return fmt::to_string(r.point.depth); }},
    {"page_size", [](const BenchRow& r) { return fmt::to_string(r.point.page_size); }},
    {"tensor_parallel", [](const BenchRow& r) { return fmt::to_string(r.point.tensor_parallel); }},
    {"pipeline_parallel", [](const BenchRow& r) { return fmt::to_string(r.point.pipeline_parallel); }},
    {"disaggregated", [](const BenchRow& r) { return std::string(r.point.disaggregated ? "1" : "0"); }},
    {"replicas", [](const BenchRow& r) { return fmt::to_string(r.point.replicas); }},
    {"method", [](const BenchRow& r) { return r.method; }},
    {"check", outcome},
    {"check_ratio", [](const BenchRow& r) { return cell(r.check_ratio); }},
    {"remark", remark},
    {"samples", [](const BenchRow& r) { return fmt::to_string(r.samples.size()); }},
    {"stop", [](const BenchRow& r) { return std::string(name(r.stop)); }},
    {"steady", [](const BenchRow& r) { return std::string(r.steady ? "true" : "false"); }},
    {"tokens_per_second", [](const BenchRow& r) { return part(r.tokens_per_second, &Estimate::value); }},
    {"tokens_per_second_low", [](const BenchRow& r) { return part(r.tokens_per_second, &Estimate::low); }},
    {"tokens_per_second_high", [](const BenchRow& r) { return part(r.tokens_per_second, &Estimate::high); }},
    {"median_seconds", [](const BenchRow& r) { return part(r.median, &Estimate::value); }},
    {"median_seconds_low", [](const BenchRow& r) { return part(r.median, &Estimate::low); }},
    {"median_seconds_high", [](const BenchRow& r) { return part(r.median, &Estimate::high); }},
    {"spread", [](const BenchRow& r) { return cell(r.spread); }},
    {"p50_seconds", [](const BenchRow& r) { return cell(r.p50); }},
    {"p90_seconds", [](const BenchRow& r) { return cell(r.p90); }},
    {"p99_seconds", [](const BenchRow& r) { return cell(r.p99); }},
    {"mfu", [](const BenchRow& r) { return cell(r.mfu); }},
    {"mbu", [](const BenchRow& r) { return cell(r.mbu); }},
    {"flops_per_token", [](const BenchRow& r) { return known(r.flops_per_token); }},
    {"bytes_per_token", [](const BenchRow& r) { return known(r.bytes_per_token); }},
    {"floor_seconds", [](const BenchRow& r) { return known(r.floor_seconds); }},
    {"joules_per_token", [](const BenchRow& r) { return cell(r.joules_per_token); }},
    {"peak_memory_bytes",
     [](const BenchRow& r) { return r.peak_memory_bytes > 0 ? fmt::to_string(r.peak_memory_bytes) : ""; }},
}};

template <class Text>
std::string line(const Text& text_of) {
  std::string out;
  for (const Column& column : kColumns) out += (out.empty() ? "" : ",") + quoted(text_of(column));
  return out + "\r\n";
}

}  // namespace

std::string to_csv(const BenchRun& run) {
  std::string out = line([](const Column& column) { return std::string(column.title); });
  for (const BenchRow& row : run.rows) {
    if (!row.samples.empty()) out += line([&](const Column& column) { return clean_text(column.cell(row)); });
  }
  return out;
}

}  // namespace mlbench::reports
