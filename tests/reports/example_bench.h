// Benchmark runs and comparisons for tests of their renderings.
#pragma once

#include <string>
#include <vector>

#include "core/bench_results.h"

namespace mlbench::reports::test {

[[nodiscard]] inline BenchPoint point_of(Index prompt, Index gen) {
  BenchPoint point;
  point.model = "llama-small";
  point.architecture = "llama";
  point.backend = "cpu";
  point.device = "cpu";
  point.dtype = "f32";
  point.threads = 2;
  point.prompt = prompt;
  point.gen = gen;
  point.page_size = 16;
  return point;
}

// Four repetitions of 64 tokens around a tenth of a second.
[[nodiscard]] inline BenchRow prefill_row() {
  BenchRow row;
  row.point = point_of(64, 16);
  row.method = "batch_prefill";
  row.samples = {0.1, 0.125, 0.1, 0.1};
  row.started = {0.0, 1.0, 2.0, 3.5};
  row.warmup_repetitions = 3;
  row.warmup_seconds = 0.5;
  row.median = Estimate{0.1, 0.1, 0.125};
  row.tokens_per_second = Estimate{640.0, 512.0, 640.0};
  row.p50 = 0.1;
  row.check = BenchCheck::passed;
  row.check_ratio = 0.25;
  row.check_text = "4 repetitions";
  row.flops_per_token = 2e6;
  row.bytes_per_token = 1e6;
  row.mfu = 0.5;
  row.mbu = 0.125;
  row.peak_memory_bytes = 300ULL << 20U;
  return row;
}

[[nodiscard]] inline BenchRow decode_row() {
  BenchRow row = prefill_row();
  row.method = "batch_decode";
  row.decode = true;
  row.samples = {0.3, 0.2};
  row.steps = {{0.1, 0.2}, {0.1, 0.1}};
  row.started = {5.0, 6.0};
  row.median = Estimate{0.25, 0.2, 0.3};
  row.tokens_per_second = Estimate{64.0, 48.0, 80.0};
  row.spread = 0.2;
  row.steady = false;
  row.stop = BenchStop::max_time;
  row.check = BenchCheck::sampled;
  row.joules_per_token = 0.75;
  row.mfu.reset();
  row.floor_seconds = 0.01;
  return row;
}

[[nodiscard]] inline BenchRow unsupported_row() {
  BenchRow row;
  row.point = point_of(128, 16);
  row.method = "batch_prefill";
  row.unsupported = "128 tokens do not fit";
  return row;
}

[[nodiscard]] inline BenchRow broken_row() {
  BenchRow row;
  row.point = point_of(256, 16);
  row.method = "batch_prefill";
  row.error = "out of memory";
  return row;
}

[[nodiscard]] inline BenchRow failed_row() {
  BenchRow row = prefill_row();
  row.point.batch = 4;
  row.check = BenchCheck::failed;
  row.check_ratio = 17.0;
  row.check_text = "logits of position 3 stray: 17 times the limit";
  return row;
}

[[nodiscard]] inline BenchRow implausible_row() {
  BenchRow row = prefill_row();
  row.point.batch = 8;
  row.check = BenchCheck::implausible;
  row.check_text = "0.1 s, and the device takes 0.2 s at least";
  return row;
}

[[nodiscard]] inline BenchRun run_of(std::vector<BenchRow> rows) {
  BenchRun run;
  run.started = "2026-11-21T10:00:00Z";
  run.command = "mlbench bench --arch llama";
  run.seed = 18446744073709551615ULL;
  run.precision = 0.01;
  run.confidence = 0.95;
  run.max_time = 60.0;
  run.environment.facts = {{"cpu", "A CPU, 2 GHz"}, {"kernel", "6.1"}, {"mlbench commit", "abc123"}, {"cpus", "2"}};
  run.environment.warnings = {"governor powersave"};
  run.probes = {{"cpu", "cpu", "f32", 2, 1.25e10, 4e10}, {"cpu", "cpu", "bf16", 2, 1.25e10, 0.0}};
  run.rows = std::move(rows);
  return run;
}

[[nodiscard]] inline BenchRun full_bench() {
  return run_of({prefill_row(), decode_row(), unsupported_row(), broken_row(), failed_row(), implausible_row()});
}

// As with --no-check.
[[nodiscard]] inline BenchRun unchecked_run() {
  BenchRun run = run_of({prefill_row()});
  run.checked = false;
  run.rows[0].check = BenchCheck::unchecked;
  run.rows[0].check_text.clear();
  return run;
}

[[nodiscard]] inline BenchRun hostile_run(const std::string& text) {
  BenchRun run = full_bench();
  for (std::string* field : {&run.started, &run.command}) *field = text;
  for (auto& [name, value] : run.environment.facts) value = text;
  run.environment.warnings = {text};
  for (ProbeResult& probe : run.probes) probe.backend = probe.device = probe.dtype = text;
  for (BenchRow& row : run.rows) {
    BenchPoint& p = row.point;
    for (std::string* field : {&p.model, &p.architecture, &p.backend, &p.device, &p.dtype, &row.method}) *field = text;
    if (!row.check_text.empty()) row.check_text = text;
    if (!row.unsupported.empty()) row.unsupported = text;
    if (!row.error.empty()) row.error = text;
  }
  return run;
}

[[nodiscard]] inline ComparedRow compared(Index prompt, Difference difference, double ratio) {
  ComparedRow row;
  row.point = point_of(prompt, 0);
  row.method = "batch_prefill";
  row.base_samples = 20;
  row.new_samples = 21;
  row.base_median = 0.1;
  row.new_median = 0.1 * ratio;
  row.ratio = {ratio, ratio - 0.02, ratio + 0.02};
  row.p_value = 0.001;
  row.difference = difference;
  return row;
}

[[nodiscard]] inline BenchComparison comparison_of(std::vector<ComparedRow> rows) {
  BenchComparison comparison;
  comparison.base = "a.json";
  comparison.next = "b.json";
  comparison.floor = 0.02;
  comparison.confidence = 0.99;
  comparison.rows = std::move(rows);
  return comparison;
}

[[nodiscard]] inline BenchComparison full_comparison() {
  BenchComparison comparison =
      comparison_of({compared(16, Difference::same, 1.0), compared(32, Difference::slower, 1.1),
                     compared(64, Difference::undecided, 1.03), compared(128, Difference::faster, 0.9),
                     compared(256, Difference::slower, 1.5), compared(512, Difference::undecided, 1.02)});
  comparison.rows[2].samples_to_decide = 40;
  ComparedRow other;
  other.point = point_of(1024, 0);
  other.method = "batch_prefill";
  other.not_compared = "device differs: cpu A, cpu B";
  comparison.rows.push_back(other);
  comparison.only_base = {"llama-small cpu f32, 2 threads, batch 9, prompt 1: batch_prefill"};
  comparison.only_new = {"llama-small cpu f32, 2 threads, batch 8, prompt 1: batch_prefill"};
  comparison.warnings = {"foreign load"};
  return comparison;
}

}  // namespace mlbench::reports::test
