// llama-bench's rows as JSON: one object for each test, a line each.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include <fmt/format.h>

#include "core/json.h"
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

// A row as that tool would see it: decode finds prompt and depth in the cache, and n_batch is what one call takes.
struct AsTest {
  Index n_prompt, n_gen, n_depth, n_batch;
};

AsTest as_test(const BenchRow& row) {
  const BenchPoint& p = row.point;
  if (row.method == "pg") return {p.prompt, p.gen, p.depth, p.batch * p.prompt};
  if (row.decode) return {0, p.gen, p.depth + p.prompt, p.batch};
  return {p.prompt, 0, p.depth, p.batch * p.prompt};
}

std::string model_type(const BenchRow& row) {
  return clean_text(fmt::format("{} {}{}", row.point.architecture, row.point.dtype,
                                row.check == BenchCheck::unchecked ? " unchecked" : ""));
}

ordered_json settings_of(const BenchRun& run, const BenchRow& row) {
  const BenchPoint& p = row.point;
  const AsTest test = as_test(row);
  return {{"build_commit", clean_text(run.environment.fact("mlbench commit"))},
          {"build_number", 0},
          {"cpu_info", clean_text(run.environment.fact("cpu"))},
          {"gpu_info", p.device == "cpu" ? "" : clean_text(p.device)},
          {"backends", clean_text(p.backend)},
          {"model_filename", clean_text(p.model)},
          {"model_type", model_type(row)},
          {"model_size", 0},
          {"model_n_params", 0},
          {"n_batch", test.n_batch},
          {"n_ubatch", test.n_batch},
          {"n_threads", p.threads},
          {"cpu_mask", "0x0"},
          {"cpu_strict", false},
          {"poll", 0},
          {"type_k", clean_text(p.dtype)},
          {"type_v", clean_text(p.dtype)},
          {"n_gpu_layers", 0},
          {"n_cpu_moe", 0},
          {"split_mode", "none"},
          {"main_gpu", 0},
          {"no_kv_offload", false},
          {"flash_attn", 0},
          {"devices", clean_text(p.device)},
          {"tensor_split", "0.00"},
          {"tensor_buft_overrides", "none"},
          {"load_mode", "none"},
          {"use_mmap", false},  // the name before load_mode; compare-llama-bench.py still asks for it
          {"embeddings", false},
          {"no_op_offload", 0},
          {"no_host", false},
          {"fit_target", 0},
          {"fit_min_ctx", 0},
          {"n_prompt", test.n_prompt},
          {"n_gen", test.n_gen},
          {"n_depth", test.n_depth},
          {"test_time", run.started}};
}

ordered_json test_json(const BenchRun& run, const BenchRow& row) {
  const double tokens = tokens_of(row);
  std::vector<double> ns, ts;
  for (const double seconds : row.samples) {
    ns.push_back(std::max(1.0, std::round(kNanoseconds * seconds)));
    ts.push_back(tokens / seconds);
  }
  const auto whole = [](double value) { return static_cast<std::uint64_t>(std::round(value)); };
  ordered_json out = settings_of(run, row);
  out["avg_ns"] = whole(moments_of(ns).mean);
  out["stddev_ns"] = whole(moments_of(ns).deviation);
  out["avg_ts"] = moments_of(ts).mean;
  out["stddev_ts"] = moments_of(ts).deviation;
  out["samples_ns"] = ordered_json::array();
  for (const double value : ns) out["samples_ns"].push_back(whole(value));
  out["samples_ts"] = ts;
  // Fields of ours, which others pass over.
  out["n_seqs"] = row.point.batch;
  out["method"] = clean_text(row.method);
  out["check"] = outcome(row);
  return out;
}

// ---- reading ----

Index count_or(Fields& fields, const std::string& name, Index otherwise) {
  return fields.has(name) ? fields.count(name) : otherwise;
}

std::string text_or_empty(Fields& fields, const std::string& name) {
  return fields.has(name) ? fields.text(name) : std::string();
}

// Settings that a point has no place for. Where a file varies one of them, its rows carry it in the model's name.
constexpr std::array<const char*, 19> kSettings = {"model_type",
                                                   "n_batch",
                                                   "n_ubatch",
                                                   "cpu_mask",
                                                   "cpu_strict",
                                                   "poll",
                                                   "n_gpu_layers",
                                                   "n_cpu_moe",
                                                   "split_mode",
                                                   "main_gpu",
                                                   "no_kv_offload",
                                                   "flash_attn",
                                                   "devices",
                                                   "tensor_split",
                                                   "no_op_offload",
                                                   "load_mode",
                                                   "tensor_buft_overrides",
                                                   "use_mmap",
                                                   "embeddings"};

std::set<std::string> varied_settings(const std::vector<LlamaTest>& tests) {
  std::set<std::string> out;
  // Our own rows state n_batch as the size of a call, which the point has already.
  const bool ours = std::ranges::all_of(tests, [](const LlamaTest& test) { return test.object.contains("n_seqs"); });
  for (const char* setting : kSettings) {
    if (ours) break;
    const auto value = [&](const LlamaTest& test) { return test.object.value(setting, json()); };
    // Compared within one model: another model has another type.
    std::map<std::string, json> first;
    for (const LlamaTest& test : tests) {
      const std::string model = shown(test.object.value("model_filename", json()));
      const auto [it, fresh] = first.try_emplace(model, value(test));
      if (!fresh && it->second != value(test)) out.insert(setting);
    }
  }
  return out;
}

std::string device_of(Fields& fields) {
  const std::string gpu = text_or_empty(fields, "gpu_info");
  return gpu.empty() ? text_or_empty(fields, "cpu_info") : gpu;
}

BenchRow row_of(Fields& fields, const json& object, const std::set<std::string>& varied) {
  BenchRow row;
  BenchPoint& p = row.point;
  p.model = fields.text("model_filename");
  for (const std::string& setting : varied) {
    p.model += fmt::format(" {}={}", setting, shown(object.value(setting, json())));
  }
  const std::string type = text_or_empty(fields, "model_type");
  p.architecture = type.substr(0, type.find(' '));
  p.backend = text_or_empty(fields, "backends");
  p.device = device_of(fields);
  p.dtype = text_or_empty(fields, "type_k");
  if (const std::string values = text_or_empty(fields, "type_v"); values != p.dtype) p.dtype += "/" + values;
  p.threads = static_cast<int>(count_or(fields, "n_threads", 0));
  p.batch = count_or(fields, "n_seqs", 1);
  p.prompt = fields.count("n_prompt");
  p.gen = fields.count("n_gen");
  p.depth = count_or(fields, "n_depth", 0);
  if (p.prompt == 0 && p.gen == 0) throw format_error(fields.place("n_prompt"), "and n_gen are 0: nothing was run");
  row.decode = p.prompt == 0;
  row.method = p.gen == 0 ? "prefill" : row.decode ? "decode" : "pg";
  if (fields.is_text("method")) row.method = fields.text("method");
  row.samples = fields.times("samples_ns", 1e-9);
  return row;
}

void read_machine(BenchRun& run, Fields& fields) {
  run.started = text_or_empty(fields, "test_time");
  run.command = "llama-bench";
  // No fact: two commits are what people compare.
  if (const std::string commit = text_or_empty(fields, "build_commit"); !commit.empty()) run.command += " of " + commit;
  const std::string cpu = text_or_empty(fields, "cpu_info"), gpu = text_or_empty(fields, "gpu_info");
  if (!cpu.empty()) run.environment.facts.emplace_back("cpu", cpu);
  if (!gpu.empty()) run.environment.facts.emplace_back("gpu", gpu);
}

}  // namespace

std::string to_llama_bench(const BenchRun& run) {
  std::string out;
  for (const BenchRow& row : run.rows) {
    if (!presentable(row)) continue;
    out += test_json(run, row).dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  }
  return out;
}

BenchRun run_from_llama_bench(const std::vector<LlamaTest>& tests, const std::string& where) {
  if (tests.empty()) throw format_error(where, "has no test");
  if (tests.size() > kMostRows) {
    throw format_error(where, fmt::format("has {} tests, the most are {}", tests.size(), kMostRows));
  }
  std::vector<Fields> all;
  for (const LlamaTest& test : tests) all.emplace_back(test.object, where, test.path);
  BenchRun run;
  run.checked = false;
  read_machine(run, all.front());
  const std::set<std::string> varied = varied_settings(tests);
  std::map<std::string, std::size_t> index;
  for (std::size_t i = 0; i < tests.size(); ++i) {
    BenchRow row = row_of(all[i], tests[i].object, varied);
    const auto [it, fresh] = index.try_emplace(series_name(row.point, row.method), run.rows.size());
    if (fresh) {
      run.rows.push_back(std::move(row));
    } else {
      std::vector<double>& samples = run.rows[it->second].samples;
      samples.insert(samples.end(), row.samples.begin(), row.samples.end());
    }
  }
  return run;
}

}  // namespace mlbench::reports
