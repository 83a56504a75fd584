#include "models/parallel_rules.h"

#include <fmt/format.h>

namespace mlbench {

void check_parallel(const ModelConfig& config, const ConfigFields& fields) {
  const Index shards = config.tensor_parallel_shards;
  const char* field = "tensor_parallel_shards";
  if (shards < 1) throw fields.bad_value(field, "must be >= 1");
  if (config.architecture == Architecture::gpt_bigcode && shards != 1) {
    throw fields.error("parallel.unsupported", field, "gpt_bigcode cannot be sharded: must be 1");
  }
  const auto must_divide = [&](Index size, const char* what) {
    if (size % shards != 0) {
      throw fields.error("parallel.indivisible", field, fmt::format("must divide the {}, {}", what, size));
    }
  };
  must_divide(config.intermediate_size, "MLP size");
  must_divide(config.num_kv_heads, "number of key-value heads");
  if (config.architecture == Architecture::phi) must_divide(config.num_heads, "number of heads");

  const Index stages = config.pipeline_parallel_stages;
  const Index layers = config.num_layers;
  if (stages < 1 || stages > layers) {
    throw fields.bad_value("pipeline_parallel_stages",
                           fmt::format("must lie within 1..{}, the number of layers", layers));
  }
  const Index per_stage = (layers + stages - 1) / stages;
  if ((stages - 1) * per_stage >= layers) {
    throw fields.bad_value("pipeline_parallel_stages",
                           fmt::format("{} layers in pieces of {} leave a stage empty", layers, per_stage));
  }
}

}  // namespace mlbench
