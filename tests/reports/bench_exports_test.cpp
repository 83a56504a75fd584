// Benchmark runs in the formats of other tools, where possible read by those tools.
#include <cstdlib>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <pugixml.hpp>

#include "reports/bench_report.h"
#include "tests/reports/example_bench.h"
#include "tests/support/temp_dir.h"

namespace mlbench::reports {
namespace {

using mlbench::test::read_file;
using mlbench::test::TempDir;
using mlbench::test::write_file;
using nlohmann::json;
using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kHostile = "<&>\"' ]]> \x01\x1b[31m \x7f \\ {a=\"b\"} , \r\nline \xff";

int run_command(const std::string& command) { return std::system(command.c_str()); }  // NOLINT(cert-env33-c)

bool is_installed(const std::string& program) {
  return run_command(fmt::format("command -v {} >/dev/null", program)) == 0;
}

// A run of twenty repetitions, scaled: each sample is its own, as in a real one.
BenchRun twenty(double factor) {
  BenchRow row = test::prefill_row();
  row.samples.clear();
  for (int i = 0; i < 20; ++i) row.samples.push_back(factor * (0.1 + 0.0001 * ((7 * i) % 20)));
  return test::run_of({row});
}

// ---- Google Benchmark ----

TEST(GoogleBenchmark, HasARowForEachRepetitionThenAggregates) {
  const json out = json::parse(to_google_benchmark(test::run_of({test::prefill_row(), test::unsupported_row()})));
  EXPECT_EQ(out["context"]["num_cpus"], 2);
  EXPECT_EQ(out["context"]["date"], "2026-11-21T10:00:00Z");
  const json& rows = out["benchmarks"];
  ASSERT_EQ(rows.size(), 8U);
  const std::string name = "llama-small/cpu/f32/threads:2/batch:1/prompt:64/gen:16/page:16/batch_prefill";
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(rows[i]["name"], name);
    EXPECT_EQ(rows[i]["run_type"], "iteration");
    EXPECT_EQ(rows[i]["repetition_index"], i);
    EXPECT_EQ(rows[i]["repetitions"], 4);
    EXPECT_EQ(rows[i]["time_unit"], "ns");
    EXPECT_EQ(rows[i]["label"], "check passed");
  }
  EXPECT_DOUBLE_EQ(rows[1]["real_time"].get<double>(), 0.125e9);
  EXPECT_DOUBLE_EQ(rows[1]["items_per_second"].get<double>(), 64 / 0.125);
  EXPECT_DOUBLE_EQ(rows[1]["bytes_per_second"].get<double>(), 64 / 0.125 * 1e6);
  std::vector<std::string> aggregates;
  for (std::size_t i = 4; i < 8; ++i) {
    EXPECT_EQ(rows[i]["run_name"], name);
    aggregates.push_back(rows[i]["name"].get<std::string>().substr(name.size()));
  }
  EXPECT_THAT(aggregates, ElementsAre("_mean", "_median", "_stddev", "_cv"));
  EXPECT_DOUBLE_EQ(rows[4]["real_time"].get<double>(), 0.10625e9);
  EXPECT_DOUBLE_EQ(rows[5]["real_time"].get<double>(), 0.1e9);
  // Three samples 0.00625 below the mean, one 0.01875 above, over n - 1 = 3: 0.0125.
  EXPECT_NEAR(rows[6]["real_time"].get<double>(), 0.0125e9, 1.0);
  EXPECT_EQ(rows[7]["aggregate_unit"], "percentage");
}

TEST(GoogleBenchmark, GivesNoRecordWhereTheCheckFailed) {
  const json out = json::parse(to_google_benchmark(test::run_of({test::failed_row()})));
  ASSERT_EQ(out["benchmarks"].size(), 4U);  // no aggregates
  EXPECT_EQ(out["benchmarks"][0]["error_occurred"], true);
  EXPECT_THAT(out["benchmarks"][0]["error_message"].get<std::string>(), HasSubstr("17 times"));
}

// The p-value of compare.py's U test on wall time, -1 where there is none.
double p_value_of(const BenchRun& base, const BenchRun& next, std::string& said) {
  const TempDir dir;
  write_file(dir / "a.json", to_google_benchmark(base));
  write_file(dir / "b.json", to_google_benchmark(next));
  const std::string command = fmt::format(
      "cd '{0}' && '{1}' /usr/share/benchmark/compare.py --no-color -d '{0}/d.json' "
      "benchmarks a.json b.json >said 2>&1",
      dir.path().string(), MLBENCH_PYTHON);
  if (run_command(command) != 0) {
    said = read_file(dir / "said");
    return -1.0;
  }
  said = read_file(dir / "said");
  for (const json& entry : json::parse(read_file(dir / "d.json"))) {
    if (entry["run_type"] == "iteration" && entry["utest"].contains("time_pvalue"))
      return entry["utest"]["time_pvalue"];
  }
  return -1.0;
}

TEST(GoogleBenchmark, ComparePyTellsRunsApart) {
  if (run_command("test -e /usr/share/benchmark/compare.py") != 0) {
    GTEST_SKIP() << "compare.py is not installed: apt-get install libbenchmark-tools python3-scipy";
  }
  std::string said;
  // All of twenty above all of twenty: 2 / C(40, 20), far below what a test of 5% asks for.
  const double slower = p_value_of(twenty(1.0), twenty(1.05), said);
  EXPECT_GT(slower, 0.0) << said;
  EXPECT_LT(slower, 1e-6) << said;
  EXPECT_THAT(said, HasSubstr("U Test, Repetitions: 20 vs 20"));
  EXPECT_THAT(said, Not(HasSubstr("WARNING")));
  EXPECT_GT(p_value_of(twenty(1.0), twenty(1.0), said), 0.9) << said;
  EXPECT_EQ(p_value_of(test::hostile_run(kHostile), test::unchecked_run(), said), -1.0);  // nothing in common
  EXPECT_THAT(said, Not(HasSubstr("Traceback")));
}

// ---- llama-bench ----

TEST(LlamaBench, WritesTheFieldsOfThatTool) {
  std::istringstream lines(to_llama_bench(test::run_of({test::prefill_row(), test::decode_row()})));
  std::string first, second, rest;
  std::getline(lines, first);
  std::getline(lines, second);
  EXPECT_FALSE(std::getline(lines, rest));
  const json prefill = json::parse(first), decode = json::parse(second);
  for (const char* field : {"build_commit",   "build_number",
                            "cpu_info",       "gpu_info",
                            "backends",       "model_filename",
                            "model_type",     "model_size",
                            "model_n_params", "n_batch",
                            "n_ubatch",       "n_threads",
                            "cpu_mask",       "cpu_strict",
                            "poll",           "type_k",
                            "type_v",         "n_gpu_layers",
                            "n_cpu_moe",      "split_mode",
                            "main_gpu",       "no_kv_offload",
                            "flash_attn",     "devices",
                            "tensor_split",   "tensor_buft_overrides",
                            "load_mode",      "use_mmap",
                            "embeddings",     "no_op_offload",
                            "no_host",        "fit_target",
                            "fit_min_ctx",    "n_prompt",
                            "n_gen",          "n_depth",
                            "test_time",      "avg_ns",
                            "stddev_ns",      "avg_ts",
                            "stddev_ts",      "samples_ns",
                            "samples_ts"}) {
    EXPECT_TRUE(prefill.contains(field)) << field;
  }
  EXPECT_EQ(prefill["build_commit"], "abc123");
  EXPECT_EQ(prefill["n_prompt"], 64);
  EXPECT_EQ(prefill["n_gen"], 0);
  EXPECT_EQ(prefill["avg_ns"], 106'250'000);
  EXPECT_EQ(prefill["stddev_ns"], 12'500'000);
  EXPECT_EQ(prefill["samples_ns"], json({100'000'000, 125'000'000, 100'000'000, 100'000'000}));
  EXPECT_DOUBLE_EQ(prefill["avg_ts"].get<double>(), (3 * 640.0 + 512.0) / 4);
  EXPECT_EQ(prefill["check"], "passed");
  EXPECT_EQ(decode["n_prompt"], 0);
  EXPECT_EQ(decode["n_gen"], 16);
  EXPECT_EQ(decode["n_depth"], 64);
}

TEST(LlamaBench, LeavesOutWhatIsNoThroughputAndMarksWhatIsUnchecked) {
  EXPECT_EQ(to_llama_bench(test::run_of({test::failed_row(), test::implausible_row(), test::unsupported_row()})), "");
  const json row = json::parse(to_llama_bench(test::unchecked_run()));
  EXPECT_EQ(row["model_type"], "llama f32 unchecked");
  EXPECT_EQ(row["check"], "unchecked");
}

// ---- github-action-benchmark ----

TEST(ActionBenchmark, HasThroughputInOneFileAndCostsInTheOther) {
  const BenchRun run = test::full_bench();
  const json bigger = json::parse(to_action_bigger_is_better(run));
  ASSERT_EQ(bigger.size(), 2U);
  EXPECT_THAT(bigger[0]["name"].get<std::string>(), ::testing::EndsWith("/batch_prefill throughput"));
  EXPECT_EQ(bigger[0]["unit"], "tokens/s");
  EXPECT_EQ(bigger[0]["value"], 640.0);
  EXPECT_EQ(bigger[0]["range"], "\xc2\xb1 20%");
  EXPECT_THAT(bigger[0]["extra"].get<std::string>(), StartsWith("check passed, 4 samples, ended by precision"));
  const json smaller = json::parse(to_action_smaller_is_better(run));
  std::vector<std::string> units;
  for (const json& entry : smaller) units.push_back(entry["unit"]);
  EXPECT_THAT(units, ElementsAre("ms", "MiB", "ms", "J/token", "MiB"));
  EXPECT_EQ(smaller[1]["value"], 300.0);
  EXPECT_THAT(to_action_bigger_is_better(test::unchecked_run()), HasSubstr("check unchecked"));
  EXPECT_EQ(to_action_smaller_is_better(BenchRun{}), "[]\n");
}

// ---- CSV ----

TEST(Csv, ReadsBackInPython) {
  const TempDir dir;
  BenchRun run = test::full_bench();
  run.rows[0].point.model = "a,\"b\"\r\nc";
  write_file(dir / "r.csv", to_csv(run));
  write_file(dir / "read.py",
             "import csv, sys\n"
             "rows = list(csv.DictReader(open(sys.argv[1], newline='', encoding='utf-8'), strict=True))\n"
             "assert [len(r) for r in rows] == [39] * 4, rows\n"
             "assert rows[0]['model'] == 'a,\"b\"?\\nc', repr(rows[0]['model'])\n"
             "assert [r['check'] for r in rows] == ['passed', 'sampled', 'failed', 'implausible']\n"
             "assert float(rows[0]['tokens_per_second_low']) == 512\n"
             "assert rows[1]['mfu'] == '' and rows[1]['joules_per_token'] == '0.75'\n");
  EXPECT_EQ(run_command(fmt::format("'{}' '{}' '{}'", MLBENCH_PYTHON, dir / "read.py", dir / "r.csv")), 0);
}

TEST(Csv, EndsLinesAsTheStandardSaysAndMarksWhatIsUnchecked) {
  const std::string text = to_csv(test::unchecked_run());
  EXPECT_THAT(text, StartsWith("model,architecture,backend,"));
  EXPECT_THAT(text, ContainsRegex("\r\nllama-small,llama,cpu,cpu,f32,2,1,64,16,0,16,1,1,0,1,batch_prefill,unchecked,"));
  EXPECT_THAT(text, ::testing::EndsWith("\r\n"));
}

// ---- OpenMetrics ----

TEST(OpenMetrics, DescribesEachFamilyBeforeItsSeries) {
  const std::string text = to_open_metrics(test::full_bench());
  EXPECT_THAT(text, HasSubstr("# TYPE mlbench_repetition_seconds gauge\n# UNIT mlbench_repetition_seconds seconds\n"
                              "# HELP mlbench_repetition_seconds Median time of a repetition.\n"
                              "mlbench_repetition_seconds{model=\"llama-small\","));
  EXPECT_THAT(text,
              ContainsRegex("\nmlbench_tokens_per_second\\{[^}]*method=\"batch_prefill\",check=\"passed\"\\} 640\n"));
  EXPECT_THAT(text, ContainsRegex("\nmlbench_verified\\{[^}]*check=\"failed\"\\} 0\n"));
  EXPECT_THAT(text, Not(ContainsRegex("\nmlbench_tokens_per_second\\{[^}]*check=\"failed\"")));
  EXPECT_THAT(text, ContainsRegex("\nmlbench_probe_read_bytes_per_second\\{[^}]*\\} 12500000000\n"));
  EXPECT_THAT(text, ::testing::EndsWith("\n# EOF\n"));
  EXPECT_THAT(to_open_metrics(test::unchecked_run()),
              ContainsRegex("mlbench_verified\\{[^}]*check=\"unchecked\"\\} 0\n"));
}

TEST(OpenMetrics, EscapesLabels) {
  BenchRun run = test::unchecked_run();
  run.rows[0].point.model = "a\"b\\c\nd";
  EXPECT_THAT(to_open_metrics(run), HasSubstr(R"({model="a\"b\\c\nd",)"));
}

TEST(OpenMetrics, NeverRepeatsASeries) {
  const std::string text = to_open_metrics(test::run_of({test::prefill_row(), test::prefill_row()}));
  const std::size_t first = text.find("\nmlbench_verified{");
  EXPECT_NE(first, std::string::npos);
  EXPECT_EQ(text.find("\nmlbench_verified{", first + 1), std::string::npos);
}

TEST(OpenMetrics, PassesPromtool) {
  if (!is_installed("promtool")) GTEST_SKIP() << "promtool is not installed: apt-get install prometheus";
  const TempDir dir;
  for (const BenchRun& run : {test::full_bench(), test::hostile_run(kHostile), test::unchecked_run(), BenchRun{}}) {
    write_file(dir / "m.txt", to_open_metrics(run));
    const std::string command =
        fmt::format("promtool check metrics <'{0}/m.txt' >'{0}/said' 2>&1", dir.path().string());
    EXPECT_EQ(run_command(command), 0) << read_file(dir / "said");
  }
  write_file(dir / "m.txt", "mlbench_x{a=\"} 1\n");  // it can say no
  EXPECT_NE(run_command(fmt::format("promtool check metrics <'{}' >/dev/null 2>&1", dir / "m.txt")), 0);
}

// ---- JUnit ----

class BenchJUnit : public ::testing::Test {
 protected:
  template <class Result>
  pugi::xml_node parse(const Result& result) {
    const std::string text = to_junit(result);
    EXPECT_TRUE(document_.load_string(text.c_str())) << text;
    return document_.child("testsuites");
  }
  // The one of that kind in a case whose name has this part.
  static std::string message(const pugi::xml_node& suites, const char* kind, const std::string& part) {
    const std::string path = fmt::format("testsuite/testcase[contains(@name, '{}')]/{}", part, kind);
    return suites.select_node(path.c_str()).node().attribute("message").value();
  }

 private:
  pugi::xml_document document_;
};

TEST_F(BenchJUnit, HasACaseForEachRow) {
  const pugi::xml_node suites = parse(test::full_bench());
  EXPECT_STREQ(suites.child("testsuite").attribute("name").value(), "llama-small.cpu.f32");
  EXPECT_EQ(suites.attribute("tests").as_int(), 6);
  EXPECT_EQ(suites.attribute("failures").as_int(), 2);
  EXPECT_EQ(suites.attribute("errors").as_int(), 1);
  EXPECT_EQ(suites.attribute("skipped").as_int(), 1);
  EXPECT_EQ(message(suites, "failure", "batch 4"), "logits of position 3 stray: 17 times the limit");
  EXPECT_EQ(message(suites, "failure", "batch 8"), "0.1 s, and the device takes 0.2 s at least");
  EXPECT_EQ(message(suites, "error", "prompt 256"), "out of memory");
  EXPECT_EQ(message(suites, "skipped", "prompt 128"), "128 tokens do not fit");
  EXPECT_THAT(suites.select_node("testsuite/testcase/system-out").node().text().get(),
              StartsWith("check passed, tokens/s 640, "));
}

TEST_F(BenchJUnit, MarksWhatIsUnchecked) {
  const pugi::xml_node suites = parse(test::unchecked_run());
  EXPECT_STREQ(suites.select_node("testsuite/properties/property[@name='checked']").node().attribute("value").value(),
               "false");
  EXPECT_THAT(suites.select_node("testsuite/testcase/system-out").node().text().get(), StartsWith("check unchecked"));
}

TEST_F(BenchJUnit, ASlowerRowIsAFailureAndAnUndecidedOneIsNot) {
  const pugi::xml_node suites = parse(test::full_comparison());
  EXPECT_EQ(suites.attribute("tests").as_int(), 9);
  EXPECT_EQ(suites.attribute("failures").as_int(), 2);
  EXPECT_EQ(suites.attribute("skipped").as_int(), 5);  // two undecided, one not compared, two of one side
  EXPECT_EQ(message(suites, "failure", "prompt 32"), "slower: new / base 1.1 (1.08 to 1.12)");
  EXPECT_STREQ(suites.select_node("//failure").node().attribute("type").value(), "regression");
  EXPECT_THAT(message(suites, "skipped", "prompt 64"), HasSubstr("would decide, each: 40 samples"));
  EXPECT_EQ(message(suites, "skipped", "prompt 1024"), "device differs: cpu A, cpu B");
}

TEST_F(BenchJUnit, FollowsTheSchema) {
  if (!is_installed("xmllint")) GTEST_SKIP() << "xmllint is not installed";
  const TempDir dir;
  const std::vector<std::string> reports = {to_junit(test::full_bench()),          to_junit(BenchRun{}),
                                            to_junit(test::hostile_run(kHostile)), to_junit(test::unchecked_run()),
                                            to_junit(test::full_comparison()),     to_junit(BenchComparison{})};
  for (const std::string& report : reports) {
    write_file(dir / "r.xml", report);
    const std::string command = fmt::format("xmllint --noout --schema '{}/junit.xsd' '{}' 2>'{}'", MLBENCH_TEST_DATA,
                                            dir / "r.xml", dir / "said");
    EXPECT_EQ(run_command(command), 0) << read_file(dir / "said");
  }
}

}  // namespace
}  // namespace mlbench::reports
