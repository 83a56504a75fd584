// Our own format of predictions; bench.schema.json is the schema.
#include "reports/bench_formats.h"
#include "reports/bench_report.h"
#include "reports/prediction_report.h"

namespace mlbench::reports {
namespace {

using nlohmann::ordered_json;

ordered_json link_json(const std::optional<Link>& link) {
  if (!link) return nullptr;
  return {{"latency_seconds", link->latency_seconds},
          {"bytes_per_second", link->bytes_per_second},
          {"shared_by_node", link->shared_by_node}};
}

ordered_json cluster_json(const Cluster& c) {
  return {{"note", c.note},
          {"nodes", c.nodes},
          {"devices_per_node", c.devices_per_node},
          {"device",
           {{"name", c.device.name},
            {"memory_bytes", c.device.memory_bytes},
            {"layer_latency_seconds", c.device.layer_latency_seconds},
            {"rates", to_json(c.device.rates).at("probes")}}},
          {"within_node", link_json(c.within_node)},
          {"between_nodes", link_json(c.between_nodes)},
          {"exchange_dtype", name(c.exchange_dtype)}};
}

ordered_json memory_json(const PredictedMemory& m) {
  return {{"worker", m.worker},
          {"stage", m.stage},
          {"weights_bytes", m.weights_bytes},
          {"cache_bytes", m.cache_bytes},
          {"scratch_bytes", m.scratch_bytes},
          {"total_bytes", m.total()},
          {"device_bytes", m.device_bytes},
          {"fits", m.fits()}};
}

ordered_json row_json(const PredictedRow& r) {
  return {{"point", to_json(r.point)},
          {"method", r.method},
          {"decode", r.decode},
          {"micro_batches", r.micro_batches},
          {"seconds", r.seconds},
          {"tokens_per_second", r.tokens_per_second},
          {"compute_seconds", r.compute_seconds},
          {"communication_seconds", r.communication_seconds},
          {"bubble_seconds", r.bubble_seconds},
          {"memory", memory_json(r.memory)}};
}

}  // namespace

ordered_json to_json(const Prediction& prediction) {
  ordered_json rows = ordered_json::array(), not_offered = ordered_json::array();
  for (const PredictedRow& row : prediction.rows) rows.push_back(row_json(row));
  for (const auto& [code, reason] : prediction.not_offered) not_offered.push_back({{"code", code}, {"reason", reason}});
  return {{"format", kPredictionFormat},
          {"version", kBenchVersion},
          {"command_line", prediction.command},
          {"cluster_file", prediction.cluster_file},
          {"cluster", cluster_json(prediction.cluster)},
          {"rows", rows},
          {"not_offered", not_offered}};
}

}  // namespace mlbench::reports
