#include "harness/measure/predict.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "harness/measure/cost.h"
#include "harness/measure/messages.h"
#include "harness/measure/pipeline.h"
#include "harness/measure/sweep.h"
#include "harness/measure/testbed.h"
#include "models/tensor_inventory.h"

namespace mlbench::measure {
namespace {

double wide(Index count) { return static_cast<double>(count); }

double size_of(DType type) { return static_cast<double>(size_bytes(type)); }

// Beyond four for each stage the bubble is negligible (GPipe, section 2), and what calls cost by themselves is not.
constexpr Index kMostMicroBatchesOfAStage = 4;

// A value in JSON is at most 2^64 - 1.
std::uint64_t whole(double bytes) {
  constexpr double kLimit = 0x1p63;
  return bytes < kLimit ? static_cast<std::uint64_t>(bytes) : std::numeric_limits<std::uint64_t>::max() / 2;
}

double elements(const std::vector<TensorSpec>& specs) {
  double sum = 0.0;
  for (const TensorSpec& spec : specs) {
    double product = 1.0;
    for (const Index dim : spec.shape) product *= wide(dim);
    sum += product;
  }
  return sum;
}

// A split model on its devices.
class SplitModel {
 public:
  SplitModel(const Cluster& cluster, const ProbeResult& rates, const ModelConfig& config, const BenchPoint& point)
      : cluster_(cluster),
        rates_(rates),
        config_(config),
        split_(split_of(point)),
        stored_(*parse_dtype(point.dtype)),
        messages_(cluster, split_, point.replicas) {
    for (Index stage = 0; stage < split_.pipeline_parallel; ++stage)
      parts_.emplace_back(config, stored_, split_, stage);
  }

  [[nodiscard]] PipelineTime time_of(const CallShape& call, Index count) const {
    Pipeline pipeline(parts_.size());
    std::vector<StageTime> stages(parts_.size());
    std::optional<CallShape> last;
    for (const CallShape& piece : micro_batches(call, count)) {
      for (std::size_t i = 0; piece != last && i < parts_.size(); ++i)
        stages[i] = stage_time(static_cast<Index>(i), piece);
      pipeline.pass(stages);
      last = piece;
    }
    return pipeline.time();
  }

  // How many micro-batches of whole sequences make the call the quickest: of the powers of two and of one for each.
  [[nodiscard]] Index quickest(const CallShape& call) const {
    const Index most = std::min(call.batch, kMostMicroBatchesOfAStage * split_.pipeline_parallel);
    if (split_.pipeline_parallel == 1) return 1;
    Index best = 1;
    double seconds = time_of(call, 1).seconds;
    for (Index count = 2; count < 2 * most; count *= 2) {
      const Index tried = std::min(count, most);
      const double took = time_of(call, tried).seconds;
      if (took >= seconds) continue;
      best = tried;
      seconds = took;
    }
    return best;
  }

  // With calls of so many rows, and of logits, at once.
  [[nodiscard]] PredictedMemory memory(const BenchPoint& point, Index rows, Index logit_rows) const {
    PredictedMemory most;
    for (Index stage = 0; stage < split_.pipeline_parallel; ++stage) {
      PredictedMemory own = memory_of(stage, point, rows, logit_rows);
      if (stage == 0 || own.total() > most.total()) most = own;
    }
    return most;
  }

 private:
  [[nodiscard]] StageTime stage_time(Index stage, const CallShape& call) const {
    const double rows = wide(call.batch) * wide(call.rows), width = wide(config_.hidden_size);
    const double layers = wide(layers_of_stage(config_.num_layers, split_.pipeline_parallel, stage).count);
    StageTime out;
    out.compute_seconds = roofline_seconds(parts_[static_cast<std::size_t>(stage)].of(call), rates_) +
                          layers * cluster_.device.layer_latency_seconds;
    if (split_.tensor_parallel > 1) {
      const double sums = config_.architecture == Architecture::phi ? 1.0 : 2.0;  // attention's and the MLP's at once
      out.communication_seconds =
          sums * layers * messages_.all_reduce_seconds(stage, rows * width * size_of(cluster_.exchange_dtype));
    }
    if (split_.pipeline_parallel == 1) return out;
    if (stage + 1 < split_.pipeline_parallel)
      out.communication_seconds += messages_.forward_seconds(stage, rows * width * size_of(cluster_.exchange_dtype));
    else if (call.logit_rows > 0)
      out.communication_seconds +=
          messages_.answer_seconds(wide(call.logit_rows) * wide(config_.vocab_size) * sizeof(float));
    return out;
  }

  [[nodiscard]] PredictedMemory memory_of(Index stage, const BenchPoint& point, Index rows, Index logit_rows) const {
    const ModelConfig part = config_of_part(config_, split_, stage);
    const double tokens = wide(Testbed::limits_of(point).max_total_seq_len);
    // What a call keeps of its rows between its steps, in float32: hidden rows and their norms, what attention and the
    // MLP read and write, each with a copy in the product's type.
    const Index row = 6 * part.hidden_size + 4 * part.q_width() + 2 * part.kv_width() + 4 * part.intermediate_size;
    const bool last = stage + 1 == split_.pipeline_parallel;
    const double logits = last ? wide(logit_rows) * wide(part.vocab_size) : 0.0;
    PredictedMemory out;
    out.worker = stage * split_.tensor_parallel;
    out.stage = stage;
    out.weights_bytes = whole(weights_bytes(config_, stored_, split_, stage));
    out.cache_bytes = whole(tokens * wide(kv_values_per_token(part)) * size_of(stored_));
    out.scratch_bytes = whole((wide(rows) * wide(row) + logits) * sizeof(float));
    out.device_bytes = cluster_.device.memory_bytes;
    return out;
  }

  const Cluster& cluster_;
  const ProbeResult& rates_;
  const ModelConfig& config_;
  Split split_;
  DType stored_;
  Messages messages_;
  std::vector<PartCost> parts_;
};

CallShape prompt_of(const BenchPoint& point) {
  return {.batch = point.batch, .rows = point.prompt, .before = point.depth, .logit_rows = point.batch};
}

CallShape step_of(const BenchPoint& point, Index step) {
  return {.batch = point.batch, .rows = 1, .before = point.depth + point.prompt + step, .logit_rows = point.batch};
}

// All of a method's calls; one ends before the next begins, as the bench's do.
PipelineTime time_of(const SplitModel& model, const BenchPoint& point, bool decode, Index count) {
  if (!decode) return model.time_of(prompt_of(point), count);
  PipelineTime sum;
  for (Index step = 0; step < point.gen; ++step) sum += model.time_of(step_of(point, step), count);
  return sum;
}

}  // namespace

Split split_of(const BenchPoint& point) { return {point.tensor_parallel, point.pipeline_parallel}; }

std::optional<Error> why_not(const Cluster& cluster, const Split& split, Index replicas) {
  const Index needed = split.workers() * replicas;
  if (needed <= cluster.devices()) return std::nullopt;
  return request_error(
      "cluster.devices",
      fmt::format("--tp {} --pp {}{}: {} devices are needed, the cluster has {}", split.tensor_parallel,
                  split.pipeline_parallel, replicas > 1 ? fmt::format(" --replicas {}", replicas) : std::string(),
                  needed, cluster.devices()));
}

double weights_bytes(const ModelConfig& config, DType stored, const Split& split, Index stage) {
  const ModelConfig part = config_of_part(config, split, stage);
  std::vector<TensorSpec> globals = global_tensors(part);
  if (stage + 1 < split.pipeline_parallel)
    std::erase_if(globals, [](const TensorSpec& spec) { return spec.role == TensorRole::norm; });
  return (wide(part.num_layers) * elements(layer_tensors(part, 0)) + elements(globals)) * size_of(stored);
}

std::vector<PredictedRow> predict(const Cluster& cluster, const ProbeResult& rates, const ModelConfig& config,
                                  const BenchPoint& point, Index asked) {
  const SplitModel model(cluster, rates, config, point);
  std::vector<PredictedRow> out;
  Index rows = 0, logits = 0;  // most of them in one micro-batch
  for (const backends::Method method : methods_of({}, point)) {
    const bool decode = decodes(method);
    const CallShape typical = decode ? step_of(point, point.gen / 2) : prompt_of(point);
    const std::vector<CallShape> pieces = micro_batches(typical, asked == 0 ? model.quickest(typical) : asked);
    for (const CallShape& piece : pieces) {
      rows = std::max(rows, piece.batch * piece.rows);
      logits = std::max(logits, piece.logit_rows);
    }
    const auto count = static_cast<Index>(pieces.size());
    const PipelineTime time = time_of(model, point, decode, count);
    PredictedRow& row = out.emplace_back();
    row.point = point;
    row.point.device = cluster.device.name;
    row.method = backends::name(method);
    row.decode = decode;
    row.micro_batches = count;
    row.seconds = time.seconds;
    row.tokens_per_second = wide(point.tokens(decode)) / time.seconds;
    row.compute_seconds = time.compute_seconds;
    row.communication_seconds = time.communication_seconds;
    row.bubble_seconds = time.bubble_seconds;
  }
  const PredictedMemory memory = model.memory(point, rows, logits);
  for (PredictedRow& row : out) row.memory = memory;
  return out;
}

}  // namespace mlbench::measure
