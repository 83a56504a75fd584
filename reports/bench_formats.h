// The formats that read_bench_run tells apart, each read beside where it is written. All throw bench.format.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/bench_results.h"

namespace mlbench::reports {

inline constexpr const char* kRunFormat = "mlbench-bench";
inline constexpr const char* kComparisonFormat = "mlbench-comparison";
inline constexpr const char* kProbeFormat = "mlbench-probe";
inline constexpr const char* kPredictionFormat = "mlbench-prediction";
inline constexpr int kBenchVersion = 1;

[[nodiscard]] BenchRun run_from_json(const nlohmann::json& document, const std::string& where);

// Of each run name the iteration rows, as samples of one row of method "benchmark". Aggregates are passed over.
[[nodiscard]] BenchRun run_from_google_benchmark(const nlohmann::json& document, const std::string& where);

// One object for each test, with what it is called in messages: "[3]", "line 4".
struct LlamaTest {
  nlohmann::json object;
  std::string path;
};
// n_prompt alone is method "prefill", n_gen alone "decode", both "pg". Tests that agree in everything are one row.
[[nodiscard]] BenchRun run_from_llama_bench(const std::vector<LlamaTest>& tests, const std::string& where);

}  // namespace mlbench::reports
