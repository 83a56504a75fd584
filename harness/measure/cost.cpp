#include "harness/measure/cost.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "models/tensor_inventory.h"

namespace mlbench::measure {
namespace {

constexpr double kMultiplyAdd = 2.0;  // operations

double wide(Index count) { return static_cast<double>(count); }

double elements(const TensorSpec& spec) {
  double product = 1.0;
  for (const Index dim : spec.shape) product *= wide(dim);
  return product;
}

// Numbers in the tensors of one layer.
struct LayerSizes {
  double all = 0.0;
  double matrices = 0.0;     // that rows are multiplied with
  double keys_values = 0.0;  // of these, what makes keys and values
};

LayerSizes layer_sizes(const ModelConfig& config) {
  LayerSizes sizes;
  for (const TensorSpec& spec : layer_tensors(config, 0)) {
    sizes.all += elements(spec);
    if (!spec.bias && spec.role != TensorRole::norm) sizes.matrices += elements(spec);
  }
  sizes.keys_values = 2.0 * wide(config.kv_width()) * wide(config.hidden_size);
  return sizes;
}

double output_layer(const ModelConfig& config) { return wide(config.vocab_size) * wide(config.hidden_size); }

// Of every tensor outside the layers, the numbers that the call reads.
double globals_read(const ModelConfig& config, const CallShape& call) {
  const bool logits = call.logit_rows > 0;
  const bool whole_embedding = config.tie_word_embeddings && logits;  // it is the output layer
  double sum = whole_embedding ? output_layer(config) : 0.0;
  for (const TensorSpec& spec : global_tensors(config)) {
    switch (spec.role) {
      case TensorRole::token_embedding:
        if (!whole_embedding) sum += wide(std::min(call.batch * call.rows, spec.shape[0])) * wide(spec.shape[1]);
        break;
      case TensorRole::position_embedding: sum += wide(call.rows) * wide(spec.shape[1]); break;
      case TensorRole::lm_head: sum += logits ? elements(spec) : 0.0; break;
      default: sum += elements(spec);
    }
  }
  return sum;
}

void check(const CallShape& call) {
  if (call.batch >= 1 && call.rows >= 1 && call.before >= 0 && call.logit_rows >= 0 &&
      call.logit_rows <= call.batch * call.rows)
    return;
  throw request_error("input.shape",
                      fmt::format("the cost of a call of {} sequences of {} rows after {} with {} rows of logits: at "
                                  "least one sequence and one row, and no more logits than rows, are needed",
                                  call.batch, call.rows, call.before, call.logit_rows));
}

// One direction that a rate limits: 0 where it was not measured.
double seconds_at(double work, double rate) { return rate > 0.0 ? std::max(work, 0.0) / (rate * kProbeMargin) : 0.0; }

std::optional<double> share(double work, double rate, double seconds) {
  if (rate <= 0.0 || seconds <= 0.0) return std::nullopt;
  return work / seconds / rate;
}

}  // namespace

CallCost& CallCost::operator+=(const CallCost& other) {
  flops += other.flops;
  least_flops += other.least_flops;
  weight_bytes += other.weight_bytes;
  cache_read_bytes += other.cache_read_bytes;
  cache_written_bytes += other.cache_written_bytes;
  return *this;
}

CallCost cost_of(const ModelConfig& config, DType stored, const CallShape& call) {
  check(call);
  const LayerSizes layer = layer_sizes(config);
  const double rows = wide(call.batch) * wide(call.rows);
  const double layers = wide(config.num_layers);
  // Row i sees what was there before, and rows 0 to i. A pair of a query and a key costs d for the score and d for the
  // value, in each head.
  const double pairs = rows * (wide(call.before) + (wide(call.rows) + 1.0) / 2.0);
  const double pair = 2.0 * wide(config.q_width());
  const double logits = wide(call.logit_rows) * output_layer(config);

  CallCost cost;
  const double stack = layers * (rows * layer.matrices + pairs * pair);
  cost.flops = kMultiplyAdd * (stack + logits);
  // Which rows get logits is not known: each sees at least itself and what was there before.
  const double last = call.logit_rows == 0
                          ? rows * layer.matrices + pairs * pair
                          : rows * layer.keys_values + wide(call.logit_rows) * (layer.matrices - layer.keys_values +
                                                                                (wide(call.before) + 1.0) * pair);
  cost.least_flops = kMultiplyAdd * (stack / layers * (layers - 1.0) + last + logits);

  const auto size = static_cast<double>(size_bytes(stored));
  const double entry = wide(kv_values_per_token(config)) * size;
  cost.weight_bytes = (layers * layer.all + globals_read(config, call)) * size;
  cost.cache_read_bytes = wide(call.batch) * wide(call.before) * entry;
  cost.cache_written_bytes = rows * entry;
  return cost;
}

double floor_seconds(const CallCost& cost, const ProbeResult& probe, std::uint64_t cache_size_bytes) {
  const auto kept = static_cast<double>(cache_size_bytes);
  return std::max(seconds_at(cost.least_flops, probe.flops_per_second),
                  seconds_at(cost.weight_bytes + cost.cache_read_bytes - kept, probe.read_bytes_per_second));
}

std::optional<double> flops_share(const CallCost& cost, const ProbeResult& probe, double seconds) {
  return share(cost.flops, probe.flops_per_second, seconds);
}

std::optional<double> bytes_share(const CallCost& cost, const ProbeResult& probe, double seconds) {
  return share(cost.bytes(), probe.read_bytes_per_second, seconds);
}

}  // namespace mlbench::measure
