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

PartCost::Layer PartCost::layer_of(const ModelConfig& config) {
  Layer sizes;
  for (const TensorSpec& spec : layer_tensors(config, 0)) {
    sizes.all += elements(spec);
    if (!spec.bias && spec.role != TensorRole::norm) sizes.matrices += elements(spec);
  }
  sizes.keys_values = 2.0 * wide(config.kv_width()) * wide(config.hidden_size);
  return sizes;
}

PartCost::PartCost(const ModelConfig& config, DType stored, const Split& split, Index stage)
    : first_(stage == 0),
      last_(stage == split.pipeline_parallel - 1),
      tied_(config.tie_word_embeddings),
      size_(static_cast<double>(size_bytes(stored))),
      vocab_(config.vocab_size),
      width_(config.hidden_size) {
  const ModelConfig part = config_of_part(config, split, stage);
  layer_ = layer_of(part);
  layers_ = wide(part.num_layers);
  pair_ = 2.0 * wide(part.q_width());  // d for the score and d for the value, in each head
  entry_ = wide(kv_values_per_token(part));
  for (const TensorSpec& spec : global_tensors(part)) {
    if (spec.role == TensorRole::position_embedding) position_ = wide(spec.shape[1]);
    if (spec.role == TensorRole::norm) norm_ += elements(spec);
    if (spec.role == TensorRole::lm_head) head_ += elements(spec);
  }
}

// Of every tensor outside the layers, the numbers that the call reads.
double PartCost::globals_read(const CallShape& call) const {
  const bool logits = call.logit_rows > 0;
  const bool whole_embedding = last_ && tied_ && logits;  // it is the output layer
  const double embedded = wide(std::min(call.batch * call.rows, vocab_)) * wide(width_);
  double sum = whole_embedding ? wide(vocab_) * wide(width_) : first_ ? embedded : 0.0;
  if (first_) sum += wide(call.rows) * position_;
  if (last_) sum += norm_ + (logits ? head_ : 0.0);
  return sum;
}

CallCost PartCost::of(const CallShape& call) const {
  check(call);
  const double rows = wide(call.batch) * wide(call.rows);
  // Row i sees what was there before, and rows 0 to i.
  const double pairs = rows * (wide(call.before) + (wide(call.rows) + 1.0) / 2.0);
  const double layer = rows * layer_.matrices + pairs * pair_;
  const double asked = last_ ? wide(call.logit_rows) : 0.0;
  const double logits = asked * wide(vocab_) * wide(width_);

  CallCost cost;
  cost.flops = kMultiplyAdd * (layers_ * layer + logits);
  // Which rows get logits is not known: each sees at least itself and what was there before.
  const double last = asked == 0.0 ? layer
                                   : rows * layer_.keys_values + asked * (layer_.matrices - layer_.keys_values +
                                                                          (wide(call.before) + 1.0) * pair_);
  cost.least_flops = kMultiplyAdd * ((layers_ - 1.0) * layer + last + logits);
  cost.weight_bytes = (layers_ * layer_.all + globals_read(call)) * size_;
  cost.cache_read_bytes = wide(call.batch) * wide(call.before) * entry_ * size_;
  cost.cache_written_bytes = rows * entry_ * size_;
  return cost;
}

CallCost cost_of(const ModelConfig& config, DType stored, const CallShape& call) {
  return PartCost(config, stored, {}, 0).of(call);
}

double floor_seconds(const CallCost& cost, const ProbeResult& probe, std::uint64_t cache_size_bytes) {
  const auto kept = static_cast<double>(cache_size_bytes);
  return std::max(seconds_at(cost.least_flops, probe.flops_per_second),
                  seconds_at(cost.weight_bytes + cost.cache_read_bytes - kept, probe.read_bytes_per_second));
}

double roofline_seconds(const CallCost& cost, const ProbeResult& rates) {
  const auto seconds = [](double work, double rate) { return rate > 0.0 ? work / rate : 0.0; };
  return std::max(seconds(cost.flops, rates.flops_per_second), seconds(cost.bytes(), rates.read_bytes_per_second));
}

std::optional<double> flops_share(const CallCost& cost, const ProbeResult& probe, double seconds) {
  return share(cost.flops, probe.flops_per_second, seconds);
}

std::optional<double> bytes_share(const CallCost& cost, const ProbeResult& probe, double seconds) {
  return share(cost.bytes(), probe.read_bytes_per_second, seconds);
}

}  // namespace mlbench::measure
