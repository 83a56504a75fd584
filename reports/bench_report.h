// Benchmark runs and comparisons as text, JSON, and the formats that other tools read.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/bench_results.h"

namespace mlbench::reports {

// For a terminal.
[[nodiscard]] std::string to_text(const BenchRun& run, bool color);
[[nodiscard]] std::string to_text(const BenchComparison& comparison, bool color);
[[nodiscard]] std::string to_text(std::span<const ProbeResult> probes);

// Our own formats, as reports/bench.schema.json says. A run's loses nothing: read_bench_run gives it back. Text is not
// cleaned: dump with nlohmann's error_handler_t::replace where it may not be UTF-8.
[[nodiscard]] nlohmann::ordered_json to_json(const BenchRun& run);
[[nodiscard]] nlohmann::ordered_json to_json(const BenchComparison& comparison);
[[nodiscard]] nlohmann::ordered_json to_json(std::span<const ProbeResult> probes);

// A point as it stands in a run, and back; the latter throws bench.format.
[[nodiscard]] nlohmann::ordered_json to_json(const BenchPoint& point);
[[nodiscard]] BenchPoint point_from_json(const nlohmann::json& point, const std::string& where);

// A run from a file's text: our own JSON, Google Benchmark's JSON, or llama-bench's JSON or JSONL, told apart by what
// stands in it. Of the latter two only the point, the method and the samples of a row are set, and the run is
// unchecked. Throws bench.format (a request error) that names `where` and what is wrong.
[[nodiscard]] BenchRun read_bench_run(const std::string& text, const std::string& where);

// What mlbench probe --json wrote. Throws bench.format.
[[nodiscard]] std::vector<ProbeResult> read_probes(const std::string& text, const std::string& where);

// What others read. Rows without samples are left out, except in Markdown and JUnit. A row whose check failed, or whose
// times are implausible, is no record: it is marked as an error, or left out where the format has no place for one.
[[nodiscard]] std::string to_google_benchmark(const BenchRun& run);
[[nodiscard]] std::string to_llama_bench(const BenchRun& run);              // JSONL
[[nodiscard]] std::string to_action_bigger_is_better(const BenchRun& run);  // github-action-benchmark's custom JSON
[[nodiscard]] std::string to_action_smaller_is_better(const BenchRun& run);
[[nodiscard]] std::string to_csv(const BenchRun& run);
[[nodiscard]] std::string to_open_metrics(const BenchRun& run);
[[nodiscard]] std::string to_markdown(const BenchRun& run);
[[nodiscard]] std::string to_markdown(const BenchComparison& comparison);
[[nodiscard]] std::string to_junit(const BenchRun& run);
[[nodiscard]] std::string to_junit(const BenchComparison& comparison);

// What the ranks of split rows did in their last repetition, in the trace event format that Chrome and Perfetto read: a
// process for each row, a thread for each rank, times in microseconds from the row's first event on.
[[nodiscard]] std::string to_chrome_trace(const BenchRun& run);

}  // namespace mlbench::reports
