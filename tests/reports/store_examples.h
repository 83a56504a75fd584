// Documents as mlbench verify and mlbench bench write them, for tests of the store.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "reports/backend_report.h"
#include "reports/bench_report.h"
#include "reports/store/database.h"
#include "tests/reports/example_bench.h"
#include "tests/reports/example_run.h"

namespace mlbench::reports::test {

[[nodiscard]] inline std::string text_of(const nlohmann::ordered_json& json) {
  return json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

[[nodiscard]] inline std::string verification_text(const std::vector<BackendVerification>& parts) {
  return text_of(to_json(parts));
}

// All with different texts, which differ in length, too.
[[nodiscard]] inline std::string numbered_verification(std::size_t number) {
  BackendVerification run = full_run();
  run.seed = number;
  run.warnings.assign(number % 7, "warning " + std::to_string(number));
  return verification_text({run, passed_run()});
}

[[nodiscard]] inline std::string numbered_benchmark(std::size_t number) {
  BenchRun run = full_bench();
  run.seed = number;
  run.environment.warnings.assign(number % 7, "warning " + std::to_string(number));
  return text_of(to_json(run));
}

[[nodiscard]] inline std::string numbered_document(std::size_t number) {
  return number % 2 == 0 ? numbered_verification(number) : numbered_benchmark(number);
}

// What SQLite says of the whole file: "ok".
[[nodiscard]] inline std::string integrity_of(const std::string& file) {
  const Connection connection(file, Connection::Open::existing, std::chrono::seconds(10));
  Statement check(connection, "PRAGMA integrity_check");
  return check.next() ? check.text() : "";
}

}  // namespace mlbench::reports::test
