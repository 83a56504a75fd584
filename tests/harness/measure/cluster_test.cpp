// Files that describe clusters, good and bad.
#include "harness/measure/cluster.h"

#include <cmath>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/support/expect_error.h"

namespace mlbench::measure {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

json good() {
  return {{"format", "mlbench-cluster"},
          {"version", 1},
          {"nodes", 2},
          {"devices_per_node", 4},
          {"device",
           {{"name", "some device"},
            {"memory_bytes", 1000},
            {"read_bytes_per_second", 1e9},
            {"flops_per_second", {{"bf16", 4e9}, {"f32", 2e9}}}}},
          {"links",
           {{"within_node", {{"latency_seconds", 1e-6}, {"bytes_per_second", 1e8}}},
            {"between_nodes", {{"latency_seconds", 1e-5}, {"bytes_per_second", 1e7}, {"per", "node"}}}}}};
}

ProbeResult probed(const char* dtype, int threads, double reads, double flops) {
  return {.backend = "cpu",
          .device = "cpu",
          .dtype = dtype,
          .threads = threads,
          .read_bytes_per_second = reads,
          .flops_per_second = flops};
}

const std::vector<ProbeResult> kProbed = {probed("f32", 1, 1e9, 2e9), probed("f32", 2, 3e9, 4e9),
                                          probed("bf16", 1, 5e9, 0.0)};

Cluster read_text(const std::string& text, const std::vector<ProbeResult>& probes = kProbed) {
  return read_cluster(text, "folder/cluster.json", [&](const std::string& path) {
    EXPECT_EQ(path, "folder/probe.json");
    return probes;
  });
}
Cluster read(const json& file) { return read_text(file.dump()); }

// The good file with one value replaced, added, or taken away where it is null.
json with(const char* place, const json& value) {
  json file = good();
  const json::json_pointer pointer(place);
  if (value.is_null())
    file.at(pointer.parent_pointer()).erase(pointer.back());
  else
    file[pointer] = value;
  return file;
}

json with_probe(const json& threads = nullptr) {
  json file = good();
  json& device = file["device"];
  device.erase("read_bytes_per_second");
  device.erase("flops_per_second");
  device["probe"] = "probe.json";
  if (!threads.is_null()) device["threads"] = threads;
  return file;
}

// ---- good ----

TEST(ClusterFile, IsRead) {
  const Cluster cluster = read(good());
  EXPECT_EQ(cluster.nodes, 2);
  EXPECT_EQ(cluster.devices_per_node, 4);
  EXPECT_EQ(cluster.devices(), 8);
  EXPECT_EQ(cluster.device.name, "some device");
  EXPECT_EQ(cluster.device.memory_bytes, 1000U);
  EXPECT_EQ(cluster.device.layer_latency_seconds, 0.0);
  EXPECT_EQ(cluster.within_node->latency_seconds, 1e-6);
  EXPECT_EQ(cluster.within_node->bytes_per_second, 1e8);
  EXPECT_FALSE(cluster.within_node->shared_by_node);
  EXPECT_EQ(cluster.between_nodes->latency_seconds, 1e-5);
  EXPECT_EQ(cluster.between_nodes->bytes_per_second, 1e7);
  EXPECT_TRUE(cluster.between_nodes->shared_by_node);
  EXPECT_EQ(cluster.exchange_dtype, DType::f32);
  EXPECT_THAT(cluster.note, IsEmpty());
  EXPECT_EQ(rates_of(cluster, DType::bf16, "c").flops_per_second, 4e9);
  EXPECT_EQ(rates_of(cluster, DType::f32, "c").flops_per_second, 2e9);
  EXPECT_EQ(rates_of(cluster, DType::f32, "c").read_bytes_per_second, 1e9);
}

TEST(ClusterFile, TakesWhatMayBeLeftOut) {
  json file = with("/device/layer_latency_seconds", 2e-6);
  file["note"] = "yours";
  file["exchange_dtype"] = "bf16";
  file["links"]["between_nodes"]["per"] = "device";
  const Cluster cluster = read(file);
  EXPECT_EQ(cluster.device.layer_latency_seconds, 2e-6);
  EXPECT_EQ(cluster.note, "yours");
  EXPECT_EQ(cluster.exchange_dtype, DType::bf16);
  EXPECT_FALSE(cluster.between_nodes->shared_by_node);
}

TEST(ClusterFile, OfOneDeviceNeedsNoLinks) {
  json file = with("/links", nullptr);
  file["nodes"] = file["devices_per_node"] = 1;
  EXPECT_FALSE(read(file).within_node);
  file["nodes"] = 2;
  EXPECT_THAT(test::error_of([&] { (void)read(file); }).message(), HasSubstr("must say between_nodes"));
}

TEST(ClusterFile, TakesRatesFromAProbe) {
  const Cluster cluster = read(with_probe(2));
  EXPECT_EQ(rates_of(cluster, DType::f32, "c").read_bytes_per_second, 3e9);
  EXPECT_EQ(rates_of(cluster, DType::f32, "c").flops_per_second, 4e9);
}

// ---- bad ----

struct Bad {
  const char* name;
  json file;
  const char* says;
};
void PrintTo(const Bad& bad, std::ostream* out) { *out << bad.name; }

class BadCluster : public testing::TestWithParam<Bad> {};

TEST_P(BadCluster, IsOneLineThatNamesThePlace) {
  const Error error = test::error_of([] { (void)read(GetParam().file); });
  EXPECT_EQ(error.kind(), ErrorKind::request);
  EXPECT_EQ(error.code(), "cluster.format");
  EXPECT_THAT(error.message(), HasSubstr("folder/cluster.json: "));
  EXPECT_THAT(error.message(), HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Files, BadCluster,
    testing::Values(
        Bad{"AList", json::array(), "[]: must be an object"},
        Bad{"AnotherFormat", with("/format", "mlbench-bench"),
            "format = \"mlbench-bench\": must be \"mlbench-cluster\""},
        Bad{"WithoutFormat", with("/format", nullptr), "format: is missing"},
        Bad{"AnotherVersion", with("/version", 2), "version = 2: must be 1"},
        Bad{"AnUnknownField", with("/node", 2), "\"node\" is no field; near: nodes"},
        Bad{"AnUnknownFieldOfTheDevice", with("/device/memory", 2),
            "\"memory\" is no field of device; near: memory_bytes"},
        Bad{"AnUnknownFieldOfALink", with("/links/within_node/per", "node"),
            "\"per\" is no field of links.within_node"},
        Bad{"AnUnknownType", with("/device/flops_per_second/q4", 1e9), "\"q4\" is no field of device.flops_per_second"},
        Bad{"NoNodes", with("/nodes", 0), "nodes = 0: must be a whole number from 1 to 65536"},
        Bad{"NegativeNodes", with("/nodes", -1), "nodes = -1: must be"},
        Bad{"HalfANode", with("/nodes", 1.5), "nodes = 1.5: must be"},
        Bad{"TextForNodes", with("/nodes", "2"), "nodes = \"2\": must be"},
        Bad{"TooManyNodes", with("/nodes", 1e18), "nodes = 1e+18: must be"},
        Bad{"TooManyDevices", with("/devices_per_node", 65536), "makes 131072 devices; the most are 65536"},
        Bad{"WithoutDevice", with("/device", nullptr), "device: is missing"},
        Bad{"ADeviceThatIsNone", with("/device", 7), "device = 7: must be an object"},
        Bad{"NoMemory", with("/device/memory_bytes", 0), "device.memory_bytes = 0: must be"},
        Bad{"WithoutMemory", with("/device/memory_bytes", nullptr), "device.memory_bytes: is missing"},
        Bad{"NoRate", with("/device/read_bytes_per_second", 0), "device.read_bytes_per_second = 0: must be a rate"},
        Bad{"ANegativeRate", with("/device/flops_per_second/f32", -1e9),
            "flops_per_second.f32 = -1000000000.0: must be"},
        Bad{"AHugeRate", with("/device/flops_per_second/f32", 1e300), "flops_per_second.f32 = 1e+300: must be a rate"},
        Bad{"NoTypes", with("/device/flops_per_second", json::object()),
            "device.flops_per_second = {}: must name a type"},
        Bad{"ANegativeLatency", with("/device/layer_latency_seconds", -1e-6), "must be seconds from 0 to 60"},
        Bad{"NoBandwidth", with("/links/within_node/bytes_per_second", 0.0),
            "within_node.bytes_per_second = 0.0: must be"},
        Bad{"AnEndlessLatency", with("/links/between_nodes/latency_seconds", 1e9),
            "latency_seconds = 1000000000.0: must"},
        Bad{"WithoutALink", with("/links/within_node", nullptr), "must say within_node"},
        Bad{"WithoutLinks", with("/links", nullptr), "links: must say within_node"},
        Bad{"LinksThatAreNone", with("/links", "fast"), "links = \"fast\": must be an object"},
        Bad{"NothingSaysWhose", with("/links/between_nodes/per", nullptr), "links.between_nodes.per: is missing"},
        Bad{"SomebodyElses", with("/links/between_nodes/per", "rack"),
            "per = \"rack\": must be \"device\" or \"node\""},
        Bad{"AnUnknownSummand", with("/exchange_dtype", "q4"), "exchange_dtype = \"q4\": must be f64, f32, bf16 or f16"},
        Bad{"ThreadsWithoutAProbe", with("/device/threads", 2), "device.threads = 2: needs \"probe\""},
        Bad{"ProbeAndRates", with("/device/probe", "probe.json"), "must be left out beside \"probe\""},
        Bad{"AProbeOfSeveral", with_probe(), "device.threads: folder/probe.json has several rates for f32"},
        Bad{"AProbeOfNoSuchThreads", with_probe(3), "device.threads = 3: folder/probe.json has no rates of so many"}),
    [](const auto& of) { return of.param.name; });

TEST(ClusterFile, WithNumbersThatAreNoneIsRefused) {
  const std::string text = good().dump();
  for (const char* number : {"NaN", "Infinity", "-Infinity", "1e999"}) {
    std::string wrong = text;
    const std::string_view memory = "\"memory_bytes\":";
    wrong.replace(wrong.find(memory) + memory.size(), 4, number);
    const Error error = test::error_of([&] { (void)read_text(wrong); });
    EXPECT_EQ(error.code(), "cluster.format") << number;
  }
}

TEST(ClusterFile, ThatEndsTooEarlyIsRefused) {
  const std::string text = good().dump();
  for (std::size_t size = 0; size < text.size(); ++size)
    EXPECT_EQ(test::code_of([&] { (void)read_text(text.substr(0, size)); }), "cluster.format") << size;
}

TEST(ClusterFile, OfAFieldThatIsGivenTwiceIsRefused) {
  std::string text = good().dump();
  text.insert(1, "\"nodes\": 3,");
  EXPECT_THAT(test::error_of([&] { (void)read_text(text); }).message(), HasSubstr("is given twice"));
}

TEST(Rates, OfATypeThatTheFileDoesNotSayAreRefused) {
  const Error given = test::error_of([] { (void)rates_of(read(good()), DType::f16, "a\nb"); });
  EXPECT_EQ(given.code(), "cluster.format");
  EXPECT_EQ(given.message(),
            "a\\x0ab: device: does not say both what it reads and what it computes in f16; of f32, bf16");
  // 0 says that a probe did not measure it.
  const Cluster cluster = read(with_probe(1));
  EXPECT_EQ(test::code_of([&] { (void)rates_of(cluster, DType::bf16, "c"); }), "cluster.format");
}

TEST(Probe, OfRatesThatAreNoneIsRefused) {
  for (const double rate : {-1.0, std::nan(""), 1e300}) {
    const Error error = test::error_of([&] { (void)read_text(with_probe().dump(), {probed("f32", 1, rate, 1e9)}); });
    EXPECT_EQ(error.code(), "cluster.format");
    EXPECT_THAT(error.message(), HasSubstr("has a rate that is none"));
  }
}

}  // namespace
}  // namespace mlbench::measure
