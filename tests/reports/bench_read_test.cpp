// Files of benchmark results, read: our own, Google Benchmark's, llama-bench's, and what is none of them.
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "reports/bench_report.h"
#include "tests/reports/example_bench.h"
#include "tests/support/expect_error.h"

namespace mlbench::reports {
namespace {

using mlbench::test::error_of;
using nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

BenchRun read(const std::string& text) { return read_bench_run(text, "r.json"); }

// What reading it says; every such error has the same code and names the file.
std::string fault_of(const std::string& text) {
  const Error error = error_of([&] { (void)read(text); });
  EXPECT_EQ(error.code(), "bench.format") << error.what();
  EXPECT_THAT(error.message(), StartsWith("r.json"));
  EXPECT_LT(error.message().size(), 1000U);
  return error.message();
}

// ---- our own ----

BenchRun round_trip(const BenchRun& run) { return read(to_json(run).dump()); }

TEST(ReadBench, GivesBackTheRunThatWasWritten) {
  BenchRun run = test::full_bench();
  run.interrupted = true;
  run.shard = 2;
  run.shards = 3;
  const BenchRun back = round_trip(run);
  EXPECT_EQ(to_json(back), to_json(run));
  // Not only what the writer looks at.
  EXPECT_EQ(back.seed, run.seed);
  EXPECT_EQ(back.environment.facts, run.environment.facts);
  EXPECT_EQ(back.rows[1].point, run.rows[1].point);
  EXPECT_EQ(back.rows[1].steps, run.rows[1].steps);
  EXPECT_EQ(back.rows[1].started, run.rows[1].started);
  EXPECT_EQ(back.rows[1].stop, BenchStop::max_time);
  EXPECT_FALSE(back.rows[1].mfu);
  EXPECT_EQ(back.rows[2].unsupported, run.rows[2].unsupported);
  EXPECT_EQ(back.rows[5].check, BenchCheck::implausible);
}

TEST(ReadBench, KeepsWhatRanksDidAndReadsRunsFromBeforeTheyTransferred) {
  BenchRun run = test::run_of({test::prefill_row()});
  run.rows[0].point.disaggregated = true;
  RankTimes rank;
  rank.host = "node7";
  rank.transfer_seconds = 0.25;
  rank.transferred_bytes = 4096;
  run.rows[0].ranks = {rank};
  const BenchRow back = round_trip(run).rows[0];
  EXPECT_TRUE(back.point.disaggregated);
  ASSERT_EQ(back.ranks.size(), 1U);
  EXPECT_DOUBLE_EQ(back.ranks[0].transfer_seconds, 0.25);
  EXPECT_EQ(back.ranks[0].transferred_bytes, 4096U);
  ordered_json before = to_json(run);
  before["rows"][0]["point"].erase("disaggregated");
  for (const char* field : {"transfer_seconds", "transferred_bytes"}) before["rows"][0]["ranks"][0].erase(field);
  const BenchRow old = read(before.dump()).rows[0];
  EXPECT_FALSE(old.point.disaggregated);
  EXPECT_DOUBLE_EQ(old.ranks.at(0).transfer_seconds, 0.0);
}

TEST(ReadBench, KeepsEveryBitOfANumber) {
  BenchRun run = test::run_of({test::prefill_row()});
  run.rows[0].samples = {0.1 + 0.2, 1.0 / 3.0, 5e-324, 123456789.123456789};
  EXPECT_EQ(round_trip(run).rows[0].samples, run.rows[0].samples);
}

TEST(ReadBench, KeepsFiguresThatAreNotFinite) {
  BenchRun run = test::run_of({test::prefill_row()});
  run.rows[0].check_ratio = std::nan("");
  run.rows[0].median->high = std::numeric_limits<double>::infinity();
  run.rows[0].median->low = -std::numeric_limits<double>::infinity();
  const BenchRun back = round_trip(run);
  EXPECT_TRUE(std::isnan(back.rows[0].check_ratio));
  EXPECT_EQ(back.rows[0].median->high, std::numeric_limits<double>::infinity());
  EXPECT_EQ(back.rows[0].median->low, -std::numeric_limits<double>::infinity());
}

TEST(ReadBench, KeepsTextOfAnyKind) {
  const std::string text = "a \"b\"\\ \n\t\x01 \xc3\xa9, </x>";
  EXPECT_EQ(to_json(round_trip(test::hostile_run(text))), to_json(test::hostile_run(text)));
}

TEST(ReadBench, NamesTheFieldThatIsWrong) {
  struct Case {
    const char* path;
    ordered_json value;
    const char* says;
  };
  const std::vector<Case> cases = {
      {"/version", 2, "r.json: version = 2: must be 1"},
      {"/format", "other", "r.json: format = \"other\": must be mlbench-bench"},
      {"/format", "mlbench-comparison", "must be mlbench-bench, a run"},
      {"/started", 7, "r.json: started = 7: must be text"},
      {"/checked", "yes", "must be true or false"},
      {"/seed", -1, "r.json: seed = -1: must be a whole number that is not negative"},
      {"/rows", ordered_json::object(), "r.json: rows = {}: must be a list"},
      {"/rows/1", 5, "r.json: rows[1]: must be an object, is 5"},
      {"/rows/0/point/batch", -1, "r.json: rows[0].point.batch = -1: must be a whole number from 0 to 2147483647"},
      {"/rows/0/point/batch", 1e10, "must be a whole number"},
      {"/rows/0/point/threads", 4294967296, "must be a whole number"},
      {"/rows/0/point/model", nullptr, "must be text"},
      {"/rows/0/samples/2", -0.5, "r.json: rows[0].samples[2] = -0.5: must be a time above 0 and at most 1e+09 s"},
      {"/rows/0/samples/2", 0, "must be a time above 0"},
      {"/rows/0/samples/2", 1e300, "must be a time above 0 and at most"},
      {"/rows/0/samples/2", "nan", "must be a time above 0"},
      {"/rows/1/steps/1/0", nullptr, "r.json: rows[1].steps[1][0] = null: must be a time from 0 on"},
      {"/rows/1/steps/1", 3, "r.json: rows[1].steps[1] = 3: must be a list"},
      {"/rows/1/steps", ordered_json::array({ordered_json::array()}), "rows[1].steps: must be as many as samples"},
      {"/rows/1/started", ordered_json::array({1.0}), "rows[1].started: must be as many as samples"},
      {"/rows/0/check", "fine", "must be one of passed, sampled, failed, implausible, unchecked"},
      {"/rows/0/stop", "", "must be one of precision, max_time, interrupted"},
      {"/rows/0/median/low", "low", R"(r.json: rows[0].median.low = "low": must be a number, "inf")"},
      {"/rows/0/warmup_seconds", -1, "must be seconds from 0"},
      {"/rows/0/spread", ordered_json::array(), "must be a number"},
      {"/environment/facts/1/name", 3, "r.json: environment.facts[1].name = 3: must be text"},
      {"/environment/warnings/0", 3, "r.json: environment.warnings[0] = 3: must be text"},
  };
  for (const Case& c : cases) {
    ordered_json document = to_json(test::full_bench());
    document.at(ordered_json::json_pointer(c.path)) = c.value;
    EXPECT_THAT(fault_of(document.dump()), HasSubstr(c.says)) << c.path;
  }
}

TEST(ReadBench, RefusesAFieldThatIsMissingOrUnknown) {
  ordered_json document = to_json(test::full_bench());
  document["rows"][0]["point"].erase("dtype");
  EXPECT_EQ(fault_of(document.dump()), "r.json: rows[0].point.dtype: is missing");
  document = to_json(test::full_bench());
  document["rows"][0]["colour\n"] = 1;
  EXPECT_EQ(fault_of(document.dump()), "r.json: rows[0]: \"colour\\x0a\" is no field of this format");
  document = to_json(test::full_bench());
  document["more"] = 1;
  EXPECT_EQ(fault_of(document.dump()), "r.json: \"more\" is no field of this format");
}

TEST(ReadBench, RefusesEveryBeginningOfAFile) {
  const std::string whole = to_json(test::run_of({test::decode_row()})).dump();
  for (std::size_t length = 0; length < whole.size(); length += 7) (void)fault_of(whole.substr(0, length));
  const std::string google = to_google_benchmark(test::unchecked_run()), llama = to_llama_bench(test::unchecked_run());
  for (const std::string& other : {google, llama}) {
    const std::size_t end = other.rfind('}');
    for (std::size_t length = 0; length <= end; length += 7) (void)fault_of(other.substr(0, length));
  }
}

TEST(ReadBench, RefusesWhatIsNoResult) {
  EXPECT_EQ(fault_of(""), "r.json: is empty");
  EXPECT_EQ(fault_of(" \n\t\n"), "r.json: is empty");
  for (const char* text : {"{}", "3", "null", "\"text\"", R"({"command": "verify"})"}) {
    EXPECT_THAT(fault_of(text), HasSubstr("is no result of mlbench bench")) << text;
  }
  for (const char* text : {"[1e999]", "[NaN]", "[{\"samples_ns\": [Infinity]}]"}) {
    EXPECT_THAT(fault_of(text), HasSubstr("must be a finite number")) << text;
  }
  EXPECT_THAT(fault_of("model,tokens\n"), HasSubstr("not valid JSON"));
  EXPECT_THAT(fault_of(std::string("{}\0", 3)), HasSubstr("zero byte"));
  EXPECT_THAT(fault_of("{\"format\": 1, \"format\": 2}"), HasSubstr("given twice"));
  EXPECT_THAT(fault_of(std::string(100'000, '[')), HasSubstr("nested deeper"));
}

TEST(ReadBench, NamesAFileInOneLine) {
  const Error error = error_of([] { (void)read_bench_run("", "a\nb"); });
  EXPECT_THAT(error.message(), HasSubstr("is empty"));
}

// ---- Google Benchmark ----

ordered_json entry(const std::string& name, double time) {
  return {{"name", name},    {"run_name", name},  {"run_type", "iteration"}, {"threads", 4},
          {"iterations", 9}, {"real_time", time}, {"cpu_time", time},        {"time_unit", "us"}};
}

std::string google(const std::vector<ordered_json>& entries) {
  const ordered_json context = {
      {"date", "2026-11-21T10:00:00+00:00"}, {"host_name", "box"},           {"executable", "./b"}, {"num_cpus", 2},
      {"cpu_scaling_enabled", true},         {"library_build_type", "debug"}};
  return ordered_json{{"context", context}, {"benchmarks", entries}}.dump(2);
}

TEST(ReadGoogleBenchmark, TakesIterationsOfARunNameForSamplesOfARow) {
  ordered_json mean = entry("A", 9.0);
  mean["run_type"] = "aggregate";
  const BenchRun run = read(google({entry("A", 1.5), entry("B", 4.0), entry("A", 2.5), mean}));
  ASSERT_EQ(run.rows.size(), 2U);
  EXPECT_EQ(run.rows[0].point.model, "A");
  EXPECT_EQ(run.rows[0].point.threads, 4);
  EXPECT_EQ(run.rows[0].method, "benchmark");
  // One rounding of a product of a decimal factor.
  EXPECT_THAT(run.rows[0].samples, ElementsAre(::testing::DoubleEq(1.5e-6), ::testing::DoubleEq(2.5e-6)));
  EXPECT_EQ(run.environment.fact("host"), "box");
  EXPECT_EQ(run.command, "./b");
  EXPECT_EQ(run.environment.warnings.size(), 2U);
  EXPECT_FALSE(run.checked);
  EXPECT_EQ(run.rows[0].check, BenchCheck::unchecked);
}

TEST(ReadGoogleBenchmark, ReadsFilesOfOldVersions) {
  const BenchRun run = read(R"({"benchmarks": [{"name": "A", "real_time": 5, "cpu_time": 5},
                                               {"name": "A_mean", "aggregate_name": "mean", "real_time": 5}]})");
  ASSERT_EQ(run.rows.size(), 1U);
  EXPECT_THAT(run.rows[0].samples, ElementsAre(::testing::DoubleEq(5e-9)));  // nanoseconds unless it says otherwise
}

TEST(ReadGoogleBenchmark, KeepsErrorsAndSkips) {
  ordered_json error = entry("A", 0.0), skip = entry("B", 0.0);
  error["error_occurred"] = true;
  error["error_message"] = "no device";
  skip["skipped"] = true;
  skip["skip_message"] = "too large";
  const BenchRun run = read(google({entry("A", 1.0), error, skip}));
  EXPECT_EQ(run.rows[0].error, "no device");
  EXPECT_TRUE(run.rows[0].samples.empty());
  EXPECT_EQ(run.rows[1].unsupported, "too large");
}

TEST(ReadGoogleBenchmark, NamesTheEntryThatIsWrong) {
  const std::vector<std::pair<ordered_json, const char*>> cases = {
      {{{"real_time", -1.0}}, "r.json: benchmarks[1].real_time = -1.0: must be a time above 0"},
      {{{"real_time", "1"}}, "must be a time above 0"},
      {{{"real_time", 1e300}}, "must be a time above 0 and at most"},
      {{{"time_unit", "h"}}, "r.json: benchmarks[1].time_unit = \"h\": must be ns, us, ms or s"},
      {{{"time_unit", 3}}, "must be text"},
      {{{"run_name", 3}}, "must be text"},
      {{{"run_type", 3}}, "must be text"},
      {{{"threads", -3}}, "must be a whole number"},
  };
  for (const auto& [damage, says] : cases) {
    ordered_json bad = entry("B", 1.0);
    bad.update(damage);
    EXPECT_THAT(fault_of(google({entry("A", 1.0), bad})), HasSubstr(says)) << damage;
  }
  EXPECT_THAT(fault_of(R"({"benchmarks": 3})"), HasSubstr("benchmarks = 3: must be a list"));
  EXPECT_THAT(fault_of(R"({"benchmarks": [3]})"), HasSubstr("benchmarks[0]: must be an object"));
  EXPECT_THAT(fault_of(R"({"benchmarks": [{"real_time": 3}]})"), HasSubstr("benchmarks[0].name: is missing"));
  EXPECT_THAT(fault_of(R"({"context": 3, "benchmarks": []})"), HasSubstr("context: must be an object"));
  EXPECT_THAT(fault_of(google({})), HasSubstr("--benchmark_report_aggregates_only"));
}

TEST(ReadGoogleBenchmark, ReadsOurExport) {
  const BenchRun run = read(to_google_benchmark(test::full_bench()));
  ASSERT_EQ(run.rows.size(), 4U);
  EXPECT_EQ(run.rows[0].point.model, "llama-small/cpu/f32/threads:2/batch:1/prompt:64/gen:16/page:16/batch_prefill");
  ASSERT_EQ(run.rows[0].samples.size(), 4U);
  // A factor and its inverse, rounded: three roundings of 2^-53 each.
  EXPECT_NEAR(run.rows[0].samples[1], 0.125, 0.125 * 3 * 0x1p-53);
  EXPECT_THAT(run.rows[2].error, HasSubstr("17 times"));
}

// ---- llama-bench ----

// A row as its version of 2026 writes it, shortened.
ordered_json llama_test(Index prompt, Index gen) {
  return {{"build_commit", "1e98116"},
          {"cpu_info", "A CPU"},
          {"gpu_info", ""},
          {"backends", "CPU"},
          {"model_filename", "m.gguf"},
          {"model_type", "llama 8B Q4_K - Medium"},
          {"n_batch", 2048},
          {"n_threads", 2},
          {"type_k", "f16"},
          {"type_v", "f16"},
          {"flash_attn", 0},
          {"n_prompt", prompt},
          {"n_gen", gen},
          {"n_depth", 32},
          {"test_time", "2026-11-21T10:00:00Z"},
          {"samples_ns", {1'000'000'000, 2'000'000'000}},
          {"samples_ts", {64.0, 32.0}}};
}

std::string lines(const std::vector<ordered_json>& tests) {
  std::string out;
  for (const ordered_json& test : tests) out += test.dump() + "\n";
  return out;
}

void expect_three_tests(const BenchRun& run) {
  ASSERT_EQ(run.rows.size(), 3U);
  EXPECT_EQ(run.rows[0].method, "prefill");
  EXPECT_FALSE(run.rows[0].decode);
  EXPECT_EQ(run.rows[1].method, "decode");
  EXPECT_TRUE(run.rows[1].decode);
  EXPECT_EQ(run.rows[2].method, "pg");
  EXPECT_FALSE(run.rows[2].decode);
  EXPECT_EQ(run.rows[2].point.prompt, 64);
  EXPECT_EQ(run.rows[2].point.gen, 16);
  EXPECT_EQ(run.rows[0].point.depth, 32);
  EXPECT_EQ(run.rows[0].point.model, "m.gguf");
  EXPECT_EQ(run.rows[0].point.architecture, "llama");
  EXPECT_EQ(run.rows[0].point.device, "A CPU");
  EXPECT_EQ(run.rows[0].point.dtype, "f16");
  EXPECT_THAT(run.rows[0].samples, ElementsAre(::testing::DoubleEq(1.0), ::testing::DoubleEq(2.0)));
  EXPECT_EQ(run.command, "llama-bench of 1e98116");
  EXPECT_FALSE(run.checked);
}

TEST(ReadLlamaBench, ReadsAnArray) {
  expect_three_tests(read(ordered_json({llama_test(64, 0), llama_test(0, 16), llama_test(64, 16)}).dump(2)));
}

TEST(ReadLlamaBench, ReadsLines) {
  expect_three_tests(read(lines({llama_test(64, 0), llama_test(0, 16), llama_test(64, 16)})));
  expect_three_tests(
      read("\n" + lines({llama_test(64, 0)}) + "\r\n\n" + lines({llama_test(0, 16), llama_test(64, 16)})));
  EXPECT_EQ(read(lines({llama_test(64, 0)})).rows.size(), 1U);
}

TEST(ReadLlamaBench, ReadsPastAByteOrderMark) {
  const std::string two = lines({llama_test(64, 0), llama_test(0, 16)});
  EXPECT_EQ(read("\xef\xbb\xbf" + two).rows.size(), 2U);
}

TEST(ReadLlamaBench, TellsRowsApartByASettingThatVaries) {
  ordered_json other = llama_test(64, 0);
  other["flash_attn"] = 1;
  const BenchRun run = read(lines({llama_test(64, 0), other, llama_test(64, 0)}));
  ASSERT_EQ(run.rows.size(), 2U);
  EXPECT_EQ(run.rows[0].point.model, "m.gguf flash_attn=0");
  EXPECT_EQ(run.rows[0].samples.size(), 4U);  // the same test twice
  EXPECT_EQ(run.rows[1].point.model, "m.gguf flash_attn=1");
}

TEST(ReadLlamaBench, NamesTheTestThatIsWrong) {
  const std::vector<std::pair<ordered_json, const char*>> cases = {
      {{{"n_prompt", -5}}, "r.json: line 2.n_prompt = -5: must be a whole number"},
      {{{"n_gen", "0"}}, "must be a whole number"},
      {{{"n_prompt", 0}}, "nothing was run"},
      {{{"n_depth", 1e30}}, "must be a whole number"},
      {{{"samples_ns", {5, -5}}}, "r.json: line 2.samples_ns[1] = -5: must be a time above 0"},
      {{{"samples_ns", {5, 0}}}, "must be a time above 0"},
      {{{"samples_ns", {1e300}}}, "must be a time above 0 and at most"},
      {{{"samples_ns", 5}}, "must be a list"},
      {{{"model_filename", nullptr}}, "must be text"},
  };
  for (const auto& [damage, says] : cases) {
    ordered_json bad = llama_test(64, 0);
    bad.update(damage);
    EXPECT_THAT(fault_of(lines({llama_test(64, 0), bad})), HasSubstr(says)) << damage;
  }
  EXPECT_THAT(fault_of(lines({llama_test(64, 0)}) + "{\"n_prompt\": 1"), StartsWith("r.json: line 2: not valid JSON"));
  EXPECT_THAT(fault_of(lines({llama_test(64, 0)}) + "7"), HasSubstr("line 2: must be an object, is 7"));
  EXPECT_EQ(fault_of("[]"), "r.json: has no test");
  EXPECT_THAT(fault_of("[[]]"), HasSubstr("[0]: must be an object"));
  EXPECT_EQ(fault_of("[{}]"), "r.json: [0].model_filename: is missing");
}

TEST(ReadLlamaBench, ReadsOurExport) {
  const BenchRun run = read(to_llama_bench(test::full_bench()));
  ASSERT_EQ(run.rows.size(), 2U);
  EXPECT_EQ(run.rows[0].method, "batch_prefill");
  EXPECT_EQ(run.rows[0].samples.size(), 4U);
  constexpr double kNanosecond = 1e-9;  // in whole ones llama-bench counts
  EXPECT_NEAR(run.rows[0].samples[1], 0.125, kNanosecond / 2.0);
  EXPECT_TRUE(run.rows[1].decode);
  EXPECT_EQ(run.rows[1].point.depth, 64);  // the prompt stands in the cache
}

// ---- too much ----

TEST(ReadBench, BoundsTheNumberOfRows) {
  std::string many = "[";
  for (int i = 0; i < 100'001; ++i) many += i == 0 ? "{}" : ",{}";
  EXPECT_EQ(fault_of(many + "]"), "r.json: has 100001 tests, the most are 100000");
  EXPECT_EQ(fault_of("{\"benchmarks\": " + many + "]}"), "r.json: benchmarks: has 100001 entries, the most are 100000");
  std::string by_line;
  for (int i = 0; i < 100'001; ++i) by_line += "{}\n";
  EXPECT_EQ(fault_of(by_line), "r.json: has more than 100000 tests");
  ordered_json own = to_json(BenchRun{});
  own["rows"] = ordered_json(std::vector<int>(100'001));
  EXPECT_EQ(fault_of(own.dump()), "r.json: rows: has 100001 entries, the most are 100000");
}

}  // namespace
}  // namespace mlbench::reports
