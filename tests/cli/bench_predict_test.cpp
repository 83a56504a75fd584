// mlbench bench --predict as its users run it.
#include <algorithm>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/support/command.h"
#include "tests/support/temp_dir.h"

namespace mlbench::cli {
namespace {

using nlohmann::json;
using test::Outcome;
using test::run_program;
using test::TempDir;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Words = std::vector<std::string>;

const std::string kExamples = std::string(MLBENCH_SOURCE_DIR) + "/docs/examples/";

Words with(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Words predict(const Words& more, const std::string& cluster = kExamples + "eight-nodes.json") {
  return with({"bench", "--predict", "--cluster", cluster, "--preset", "llama-2-70b", "--dtype", "bf16"}, more);
}

void expect_refused(const Words& words, const std::string& says) {
  const Outcome run = run_program(words);
  SCOPED_TRACE(::testing::PrintToString(words));
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.out, "");
  EXPECT_EQ(std::ranges::count(run.err, '\n'), 1) << run.err;
  EXPECT_THAT(run.err, StartsWith("mlbench: "));
  EXPECT_THAT(run.err, HasSubstr(says));
}

TEST(BenchPredict, GivesARowForEveryMethodOfEveryConfiguration) {
  const Outcome run = run_program(predict({"--tp", "1,2,4,8", "--pp", "1,2,4,8", "--batch", "1,8", "--json", "-"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json result = json::parse(run.out);
  EXPECT_EQ(result["format"], "mlbench-prediction");
  EXPECT_EQ(result["rows"].size(), 4U * 4 * 2 * 2);
  EXPECT_EQ(result["not_offered"].size(), 0U);
  for (const json& row : result["rows"]) {
    const double sum = row["compute_seconds"].get<double>() + row["communication_seconds"].get<double>() +
                       row["bubble_seconds"].get<double>();
    EXPECT_NEAR(sum / row["seconds"].get<double>(), 1.0, 1e-9);
    const bool whole = row["point"]["tensor_parallel"] == 1 && row["point"]["pipeline_parallel"] == 1;
    EXPECT_EQ(row["memory"]["fits"], !whole) << "138 GB of weights on 80 GB";
  }
}

TEST(BenchPredict, WritesATableAndAFile) {
  const TempDir dir;
  const Outcome run = run_program(predict({"--tp", "1,8", "--json", dir / "p.json"}));
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("8 nodes, 8 devices in each: H100 SXM"));
  EXPECT_THAT(run.out, HasSubstr("DOES NOT FIT"));
  EXPECT_THAT(run.out, HasSubstr("predicted, not measured"));
  EXPECT_EQ(json::parse(test::read_file(dir / "p.json"))["rows"].size(), 4U);
}

// In a list: what cannot be is left out, with its reason, once.
TEST(BenchPredict, ListsWhatIsNotOffered) {
  const Outcome run =
      run_program(predict({"--tp", "3,8", "--pp", "1,16", "--batch", "1,2", "--prompt", "8,5000", "--json", "-"}));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json result = json::parse(run.out);
  EXPECT_EQ(result["rows"].size(), 4U) << "tp 8, pp 1, prompt 8, two batches, two methods";
  std::vector<std::string> codes;
  for (const json& line : result["not_offered"]) codes.push_back(line["code"]);
  EXPECT_THAT(codes,
              ::testing::UnorderedElementsAre("parallel.indivisible", "cluster.devices", "input.position_range"));
}

TEST(BenchPredict, RefusesWhatIsNotOfferedAlone) {
  expect_refused(predict({"--tp", "3"}), "parallel.indivisible: llama-2-70b: --tp 3: must divide the MLP size, 28672");
  expect_refused(predict({"--pp", "81"}), "config.value: llama-2-70b: --pp 81: must lie within 1..80");
  expect_refused(predict({"--tp", "8", "--pp", "16"}),
                 "cluster.devices: --tp 8 --pp 16: 128 devices are needed, the cluster has 64");
  expect_refused(predict({"--tp", "8", "--replicas", "9"}), "cluster.devices: --tp 8 --pp 1 --replicas 9: 72 devices");
  expect_refused(predict({"--prompt", "5000"}), "input.position_range: llama-2-70b: 5064 tokens of a sequence");
  expect_refused(predict({"--prompt", "0", "--gen", "0"}), "usage: bench: nothing to predict");
  expect_refused(predict({"--dtype", "f64"}), "cluster.format: ");
}

TEST(BenchPredict, TakesSweepFilesReplicasAndMicroBatches) {
  const TempDir dir;
  test::write_file(dir / "s.json", R"({"models": [{"preset": "llama-2-7b"}], "dtype": ["bf16"], "tp": [1, 2],
                                      "threads": [1, 2], "batch": [4], "method": ["decode"]})");
  const Outcome run = run_program({"bench", "--predict", "--cluster", kExamples + "eight-nodes.json", "--sweep",
                                   dir / "s.json", "--replicas", "1,8", "--micro-batches", "2", "--json", "-"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json result = json::parse(run.out);
  EXPECT_EQ(result["rows"].size(), 2U * 2 * 2) << "threads and methods are no axes here";
  for (const json& row : result["rows"]) EXPECT_EQ(row["micro_batches"], 2);
}

TEST(BenchPredict, RefusesOptionsThatSayHowToRun) {
  for (const Words& more : {Words{"--backend", "cpu"}, Words{"--threads", "2"}, Words{"--no-check"},
                            Words{"--max-time", "1"}, Words{"--method", "decode"}, Words{"--csv", "x"}})
    expect_refused(predict(more), more[0] + ": has no place beside --predict");
  const Words no_cluster = {"bench", "--predict", "--arch", "llama"};
  expect_refused(no_cluster, "--predict: needs --cluster FILE");
  for (const Words& more : {Words{"--cluster", "x"}, Words{"--micro-batches", "2"}})
    expect_refused(with({"bench", "--backend", "cpu", "--arch", "llama"}, more), "--predict");
  for (const Words& more : {Words{"--replicas", "0"}, Words{"--micro-batches", "-1"}, Words{"--tp", "two"}})
    expect_refused(predict(more), more[0]);
  expect_refused({"bench", "--arch", "llama"}, "--backend is required");
  EXPECT_EQ(run_program(predict({"--json", "/nowhere/p.json"})).exit_code, 4);
}

// ---- cluster files ----

TEST(BenchPredict, TakesRatesFromAProbeBesideTheClusterFile) {
  const Outcome run = run_program({"bench", "--predict", "--cluster", kExamples + "two-ranks.json", "--arch", "llama",
                                   "--tp", "1,2", "--prompt", "64", "--json", "-"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json result = json::parse(run.out);
  EXPECT_EQ(result["rows"].size(), 4U);
  EXPECT_EQ(result["cluster"]["device"]["rates"][0]["threads"], 1);
}

TEST(BenchPredict, RefusesHostileClusterFiles) {
  const TempDir dir;
  const std::string good = test::read_file(kExamples + "eight-nodes.json");
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    test::write_file(dir / "c.json", text);
    return predict({}, dir / "c.json");
  };
  expect_refused(predict({}, dir / "none.json"), "file.missing: ");
  expect_refused(predict({}, dir.path().string()), "file.not_a_file: ");
  test::write_file(dir / "c.json", good.substr(0, good.size() / 2));
  expect_refused(predict({}, dir / "c.json"), "cluster.format: ");
  test::write_file(dir / "c.json", "");
  expect_refused(predict({}, dir / "c.json"), "cluster.format: ");
  test::write_file(dir / "c.json", std::string((std::size_t{1} << 20U) + 1, ' '));
  expect_refused(predict({}, dir / "c.json"), "file.too_large: ");
  expect_refused(changed("4.5e11", "0"), "links.within_node.bytes_per_second = 0: must be a rate");
  expect_refused(changed("5e-6", "-5e-6"), "links.within_node.latency_seconds = -5e-06: must be seconds");
  expect_refused(changed("3.35e12", "NaN"), "cluster.format: ");
  expect_refused(changed("3.35e12", "1e400"), "cluster.format: ");
  expect_refused(changed("3.35e12", "1e300"), "device.read_bytes_per_second = 1e+300: must be a rate");
  expect_refused(changed("\"nodes\"", "\"nods\""), "\"nods\" is no field; near: nodes");
}

TEST(BenchPredict, RefusesProbeFilesThatAreNone) {
  const TempDir dir;
  test::write_file(dir / "c.json", test::read_file(kExamples + "two-ranks.json"));
  const Words words = {"bench", "--predict", "--cluster", dir / "c.json", "--arch", "llama"};
  expect_refused(words, "file.missing: " + (dir / "two-ranks-probe.json"));
  test::write_file(dir / "two-ranks-probe.json", R"({"format": "mlbench-bench", "version": 1})");
  expect_refused(words, "bench.format: " + (dir / "two-ranks-probe.json") + ": format = \"mlbench-bench\"");
  test::write_file(dir / "two-ranks-probe.json", "{");
  expect_refused(words, "bench.format: ");
}

}  // namespace
}  // namespace mlbench::cli
