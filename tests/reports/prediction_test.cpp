// Predictions as text and JSON, and results of probes read back.
#include <cstdlib>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "reports/bench_report.h"
#include "reports/prediction_report.h"
#include "tests/reports/example_bench.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace mlbench::reports {
namespace {

using mlbench::test::code_of;
using mlbench::test::error_of;
using nlohmann::ordered_json;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

PredictedRow row_of(Index tensor_parallel, const std::string& method) {
  PredictedRow row;
  row.point = test::point_of(64, 16);
  row.point.backend = "";
  row.point.device = "some device";
  row.point.threads = 0;
  row.point.tensor_parallel = tensor_parallel;
  row.method = method;
  row.decode = method == "decode";
  row.micro_batches = 3;
  row.seconds = 0.5;
  row.tokens_per_second = 128.0;
  row.compute_seconds = 0.25;
  row.communication_seconds = 0.125;
  row.bubble_seconds = 0.125;
  row.memory = {.worker = 6,
                .stage = 3,
                .weights_bytes = 100U << 20U,
                .cache_bytes = 20U << 20U,
                .scratch_bytes = 8U << 20U,
                .device_bytes = 128U << 20U};
  return row;
}

Prediction example() {
  Prediction out;
  out.command = "mlbench bench --predict";
  out.cluster_file = "cluster.json";
  out.cluster.note = "some figures";
  out.cluster.nodes = 2;
  out.cluster.devices_per_node = 4;
  out.cluster.device = {.name = "some device",
                        .memory_bytes = 128U << 20U,
                        .layer_latency_seconds = 1e-6,
                        .rates = {{.backend = "cpu",
                                   .device = "cpu",
                                   .dtype = "f32",
                                   .threads = 1,
                                   .read_bytes_per_second = 1e9,
                                   .flops_per_second = 2e9}}};
  out.cluster.within_node = Link{.latency_seconds = 1e-6, .bytes_per_second = 1e9};
  out.cluster.between_nodes = Link{.latency_seconds = 1e-5, .bytes_per_second = 1e8, .shared_by_node = true};
  out.rows = {row_of(1, "prefill"), row_of(2, "decode")};
  out.rows[1].memory.scratch_bytes += 1;
  out.not_offered = {{"parallel.indivisible", "llama-small: --tp 3: must divide the MLP size, 520"}};
  return out;
}

// ---- text ----

TEST(PredictionText, ShowsTheClusterOnce) {
  const std::string text = to_text(example(), false);
  EXPECT_THAT(text, HasSubstr("cluster.json: 2 nodes, 4 devices in each: some device, 128 MiB each\n"));
  EXPECT_THAT(text, HasSubstr("note: some figures\n"));
  EXPECT_THAT(text, HasSubstr("within a node: 1 GB/s each way for a device, 1 us\n"));
  EXPECT_THAT(text, HasSubstr("between nodes: 100 MB/s each way for a node, 10 us\n"));
  EXPECT_THAT(text, HasSubstr("a device in f32: reads 1 GB/s, computes 2 GFLOP/s\n"));
}

TEST(PredictionText, ShowsARowsFigures) {
  const std::string text = to_text(example(), false);
  EXPECT_THAT(text, ContainsRegex("tp +method +micro-batches +tokens/s +call ms +compute +messages +bubble +memory"));
  EXPECT_THAT(text, ContainsRegex("\n +1 +prefill +3 +128 +500 +50% +25% +25% +128 MiB +6 +fits"));
  EXPECT_THAT(text, ContainsRegex("\n +2 +decode +3 +128 +31.25 +50% +25% +25% +129 MiB +6 +DOES NOT FIT"))
      << "a step of 16";
  EXPECT_THAT(text, HasSubstr("2 rows, 1 of what does not fit; predicted, not measured"));
}

TEST(PredictionText, SaysWhatIsNotOffered) {
  EXPECT_THAT(to_text(example(), false), HasSubstr("not offered: parallel.indivisible: llama-small: --tp 3: must"));
}

TEST(PredictionText, HasAColumnOfReplicasWhereThereAreSome) {
  Prediction prediction = example();
  EXPECT_THAT(to_text(prediction, false), Not(HasSubstr("replicas")));
  prediction.rows[0].point.replicas = 4;
  EXPECT_THAT(to_text(prediction, false), ContainsRegex("tp +replicas +method"));
}

TEST(PredictionText, StaysOneLineALineWhateverNamesHold) {
  Prediction prediction = example();
  const auto lines = [](const std::string& text) { return std::ranges::count(text, '\n'); };
  const auto before = lines(to_text(prediction, false));
  prediction.cluster_file = prediction.cluster.note = prediction.cluster.device.name = "a\nb\x1b[2J";
  prediction.not_offered[0].reason = prediction.rows[0].point.model = "a\nb";
  const std::string text = to_text(prediction, false);
  EXPECT_EQ(lines(text), before);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST(PredictionText, IsColouredOnRequest) {
  EXPECT_THAT(to_text(example(), true), HasSubstr("\x1b[31mDOES NOT FIT\x1b[0m"));
}

// ---- JSON ----

TEST(PredictionJson, HasEveryFigure) {
  const ordered_json json = to_json(example());
  EXPECT_EQ(json["format"], "mlbench-prediction");
  EXPECT_EQ(json["version"], 1);
  EXPECT_EQ(json["cluster"]["between_nodes"]["shared_by_node"], true);
  EXPECT_EQ(json["cluster"]["device"]["rates"][0]["flops_per_second"], 2e9);
  const ordered_json& row = json["rows"][1];
  EXPECT_EQ(row["point"]["tensor_parallel"], 2);
  EXPECT_EQ(row["method"], "decode");
  EXPECT_EQ(row["micro_batches"], 3);
  EXPECT_EQ(row["seconds"], 0.5);
  EXPECT_EQ(row["compute_seconds"], 0.25);
  EXPECT_EQ(row["communication_seconds"], 0.125);
  EXPECT_EQ(row["bubble_seconds"], 0.125);
  EXPECT_EQ(row["memory"]["total_bytes"], (128U << 20U) + 1);
  EXPECT_EQ(row["memory"]["fits"], false);
  EXPECT_EQ(json["rows"][0]["memory"]["fits"], true);
  EXPECT_EQ(json["not_offered"][0]["code"], "parallel.indivisible");
}

TEST(PredictionJson, FollowsItsSchemaAndNoDamageDoes) {
  const mlbench::test::TempDir dir;
  Prediction lone = example();
  lone.cluster.within_node.reset();
  lone.cluster.between_nodes.reset();
  mlbench::test::write_file(dir / "0", to_json(example()).dump());
  mlbench::test::write_file(dir / "1", to_json(lone).dump());
  const std::string command =
      fmt::format("'{}' '{}/tests/reports/check_json.py' '{}/reports/bench.schema.json' '{}' '{}' >'{}' 2>&1",
                  MLBENCH_PYTHON, MLBENCH_SOURCE_DIR, MLBENCH_SOURCE_DIR, dir / "0", dir / "1", dir / "said");
  const int status = std::system(command.c_str());  // NOLINT(cert-env33-c)
  EXPECT_EQ(status, 0) << mlbench::test::read_file(dir / "said");
}

// ---- probes ----

TEST(ReadProbes, GivesBackWhatWasWritten) {
  const std::vector<ProbeResult> probes = example().cluster.device.rates;
  const std::vector<ProbeResult> back = read_probes(to_json(probes).dump(), "probe.json");
  ASSERT_EQ(back.size(), 1U);
  EXPECT_EQ(back[0].dtype, "f32");
  EXPECT_EQ(back[0].threads, 1);
  EXPECT_EQ(back[0].read_bytes_per_second, 1e9);
  EXPECT_EQ(back[0].flops_per_second, 2e9);
}

TEST(ReadProbes, RefusesWhatIsNoProbe) {
  const std::string run = to_json(test::run_of({test::decode_row()})).dump();
  EXPECT_EQ(error_of([&] { (void)read_probes(run, "run.json"); }).message(),
            "run.json: format = \"mlbench-bench\": must be mlbench-probe, a result of mlbench probe");
  const std::string good = to_json(example().cluster.device.rates).dump();
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_EQ(code_of([&] { (void)read_probes(good.substr(0, size), "p"); }), "bench.format") << size;
  for (const char* wrong : {"[]", "7", "{}", R"({"format":"mlbench-probe","version":2,"probes":[]})",
                            R"({"format":"mlbench-probe","version":1,"probes":[{}]})",
                            R"({"format":"mlbench-probe","version":1,"probes":[],"more":1})"})
    EXPECT_EQ(code_of([&] { (void)read_probes(wrong, "p"); }), "bench.format") << wrong;
}

}  // namespace
}  // namespace mlbench::reports
