#include "harness/measure/cluster.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/json.h"
#include "core/near_names.h"

namespace mlbench::measure {
namespace {

using nlohmann::json;
using Names = std::vector<std::string>;

constexpr const char* kFormat = "mlbench-cluster";
constexpr Index kVersion = 1;
constexpr Index kMostDevices = 65536;
constexpr double kLargestRate = 1e21;  // a thousand times what the largest machine of 2025 computes in a second
constexpr double kLongestLatency = 60.0;
constexpr Index kLargestMemory = Index{1} << 60U;

// An object of the file, of fields that are all known.
class Object {
 public:
  Object(const json& object, std::string where, std::string path, Names known)
      : object_(&object), where_(std::move(where)), path_(std::move(path)) {
    const std::string of = path_.empty() ? "" : fmt::format(" of {}", path_);
    if (!object.is_object())
      throw error(
          fmt::format("{}{}: must be an object", path_.empty() ? "" : fmt::format("{} = ", path_), shown(object)));
    for (const auto& [name, value] : object.items()) {
      if (std::ranges::find(known, name) == known.end())
        throw error(
            fmt::format("{} is no field{}{}", in_quotes(name), of, near_names_hint(name, known, "docs/scaling.md")));
    }
  }

  [[nodiscard]] bool has(const std::string& name) const { return object_->contains(name); }

  [[nodiscard]] std::string text(const std::string& name) const {
    const json& value = at(name);
    if (!value.is_string()) throw wrong(name, "must be text");
    return value.get<std::string>();
  }
  [[nodiscard]] Index count(const std::string& name, Index most) const {
    const json& value = at(name);
    if (!value.is_number_unsigned() || value < 1U || value > static_cast<std::uint64_t>(most))
      throw wrong(name, fmt::format("must be a whole number from 1 to {}", most));
    return value.get<Index>();
  }
  [[nodiscard]] double rate(const std::string& name) const {
    return number(name, 1.0, kLargestRate, fmt::format("must be a rate from 1 to {:g} in a second", kLargestRate));
  }
  [[nodiscard]] double latency(const std::string& name) const {
    return number(name, 0.0, kLongestLatency, fmt::format("must be seconds from 0 to {:g}", kLongestLatency));
  }
  [[nodiscard]] Object object(const std::string& name, Names known) const {
    return {at(name), where_, joined(name), std::move(known)};
  }

  [[nodiscard]] Error wrong(const std::string& name, const std::string& must) const {
    if (!has(name)) return error(fmt::format("{}: {}", joined(name), must));
    return error(fmt::format("{} = {}: {}", joined(name), shown(object_->at(name)), must));
  }

 private:
  [[nodiscard]] std::string joined(const std::string& name) const {
    return path_.empty() ? name : fmt::format("{}.{}", path_, name);
  }
  [[nodiscard]] Error error(const std::string& what) const {
    return request_error("cluster.format", fmt::format("{}: {}", one_line(where_), what));
  }
  [[nodiscard]] const json& at(const std::string& name) const {
    if (!has(name)) throw wrong(name, "is missing");
    return object_->at(name);
  }
  [[nodiscard]] double number(const std::string& name, double least, double most, const std::string& must) const {
    const json& value = at(name);
    if (!value.is_number() || !(value.get<double>() >= least && value.get<double>() <= most)) throw wrong(name, must);
    return value.get<double>();
  }

  const json* object_;
  std::string where_, path_;
};

DType dtype_in(const Object& from, const std::string& name) {
  const auto dtype = parse_dtype(from.text(name));
  if (!dtype) throw from.wrong(name, "must be f64, f32, bf16 or f16");
  return *dtype;
}

// ---- the device ----

std::vector<ProbeResult> rates_given(const Object& device, const std::string& name) {
  std::vector<ProbeResult> out;
  const Object flops = device.object("flops_per_second", {"f64", "f32", "bf16", "f16"});
  const double reads = device.rate("read_bytes_per_second");
  for (const char* dtype : {"f64", "f32", "bf16", "f16"}) {
    if (!flops.has(dtype)) continue;
    out.push_back({.backend = "",
                   .device = name,
                   .dtype = dtype,
                   .read_bytes_per_second = reads,
                   .flops_per_second = flops.rate(dtype)});
  }
  if (out.empty()) throw device.wrong("flops_per_second", "must name a type: f64, f32, bf16 or f16");
  return out;
}

std::vector<ProbeResult> rates_probed(const Object& device, const std::string& where, const ReadProbes& read_probes) {
  for (const char* name : {"read_bytes_per_second", "flops_per_second"}) {
    if (device.has(name)) throw device.wrong(name, "must be left out beside \"probe\", which says it");
  }
  const std::string path = (std::filesystem::path(where).parent_path() / device.text("probe")).string();
  std::vector<ProbeResult> out = read_probes(path);
  if (device.has("threads")) {
    const Index threads = device.count("threads", kMostDevices);
    std::erase_if(out, [&](const ProbeResult& rates) { return rates.threads != threads; });
    if (out.empty()) throw device.wrong("threads", fmt::format("{} has no rates of so many", one_line(path)));
  }
  for (const ProbeResult& rates : out) {
    if (std::ranges::count(out, rates.dtype, &ProbeResult::dtype) > 1)
      throw device.wrong("threads", fmt::format("{} has several rates for {}: say of how many threads", one_line(path),
                                                one_line(rates.dtype)));
    for (const double rate : {rates.read_bytes_per_second, rates.flops_per_second}) {
      if (!(rate >= 0.0 && rate <= kLargestRate))
        throw device.wrong("probe", fmt::format("has a rate that is none: {:g} for {}", rate, one_line(rates.dtype)));
    }
  }
  return out;
}

ClusterDevice device_of(const Object& from, const std::string& where, const ReadProbes& read_probes) {
  ClusterDevice out;
  out.name = from.text("name");
  out.memory_bytes = static_cast<std::uint64_t>(from.count("memory_bytes", kLargestMemory));
  if (from.has("layer_latency_seconds")) out.layer_latency_seconds = from.latency("layer_latency_seconds");
  if (from.has("threads") && !from.has("probe")) throw from.wrong("threads", "needs \"probe\", whose rates it chooses");
  out.rates = from.has("probe") ? rates_probed(from, where, read_probes) : rates_given(from, out.name);
  return out;
}

// ---- links ----

Link link_of(const Object& from) {
  return {.latency_seconds = from.latency("latency_seconds"), .bytes_per_second = from.rate("bytes_per_second")};
}

Link link_between_nodes(const Object& links) {
  const Object from = links.object("between_nodes", {"latency_seconds", "bytes_per_second", "per"});
  Link out = link_of(from);
  const std::string per = from.text("per");
  if (per != "device" && per != "node") throw from.wrong("per", R"(must be "device" or "node")");
  out.shared_by_node = per == "node";
  return out;
}

void read_links(const Object& file, Cluster& into) {
  const Names known = {"within_node", "between_nodes"};
  const json none = json::object();
  const Object links = file.has("links") ? file.object("links", known) : Object(none, "", "links", known);
  if (links.has("within_node"))
    into.within_node = link_of(links.object("within_node", {"latency_seconds", "bytes_per_second"}));
  if (links.has("between_nodes")) into.between_nodes = link_between_nodes(links);
  if (into.devices_per_node > 1 && !into.within_node)
    throw file.wrong("links", "must say within_node, as a node has several devices");
  if (into.nodes > 1 && !into.between_nodes)
    throw file.wrong("links", "must say between_nodes, as there are several nodes");
}

void require_format(const Object& file) {
  if (file.text("format") != kFormat) throw file.wrong("format", fmt::format("must be \"{}\"", kFormat));
  if (file.count("version", kMostDevices) != kVersion)
    throw file.wrong("version", fmt::format("must be {}, the one that this mlbench reads", kVersion));
}

}  // namespace

Cluster read_cluster(const std::string& text, const std::string& where, const ReadProbes& read_probes) {
  const json parsed = parse_json(text, one_line(where), "cluster.format", "cluster.format");
  const Object file(parsed, where, "",
                    {"format", "version", "note", "nodes", "devices_per_node", "device", "links", "exchange_dtype"});
  require_format(file);
  Cluster out;
  if (file.has("note")) out.note = file.text("note");
  out.nodes = file.count("nodes", kMostDevices);
  out.devices_per_node = file.count("devices_per_node", kMostDevices);
  if (out.devices() > kMostDevices)
    throw file.wrong("devices_per_node", fmt::format("makes {} devices; the most are {}", out.devices(), kMostDevices));
  out.device = device_of(file.object("device", {"name", "memory_bytes", "layer_latency_seconds",
                                                "read_bytes_per_second", "flops_per_second", "probe", "threads"}),
                         where, read_probes);
  read_links(file, out);
  if (file.has("exchange_dtype")) out.exchange_dtype = dtype_in(file, "exchange_dtype");
  return out;
}

const ProbeResult& rates_of(const Cluster& cluster, DType dtype, const std::string& where) {
  const std::vector<ProbeResult>& rates = cluster.device.rates;
  const auto found = std::ranges::find_if(rates, [&](const ProbeResult& one) {
    return one.dtype == name(dtype) && one.read_bytes_per_second > 0.0 && one.flops_per_second > 0.0;
  });
  if (found != rates.end()) return *found;
  Names known;
  for (const ProbeResult& one : rates) known.push_back(one_line(one.dtype));
  throw request_error("cluster.format",
                      fmt::format("{}: device: does not say both what it reads and what it computes in {}; of {}",
                                  one_line(where), name(dtype), fmt::join(known, ", ")));
}

}  // namespace mlbench::measure
