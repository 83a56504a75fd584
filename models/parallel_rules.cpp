#include "models/parallel_rules.h"

#include <fmt/format.h>

namespace mlbench {
namespace {

using Number = SplitFault::Number;

std::optional<SplitFault> fault_of_shards(const ModelConfig& config, Index shards) {
  const auto fault = [](const char* code, std::string rule) {
    return SplitFault{Number::shards, code, std::move(rule)};
  };
  if (shards < 1) return fault("config.value", "must be >= 1");
  if (config.architecture == Architecture::gpt_bigcode && shards != 1)
    return fault("parallel.unsupported", "gpt_bigcode cannot be sharded: must be 1");
  const auto indivisible = [&](Index size, const char* what) {
    return fault("parallel.indivisible", fmt::format("must divide the {}, {}", what, size));
  };
  if (config.intermediate_size % shards != 0) return indivisible(config.intermediate_size, "MLP size");
  if (config.num_kv_heads % shards != 0) return indivisible(config.num_kv_heads, "number of key-value heads");
  if (config.architecture == Architecture::phi && config.num_heads % shards != 0)
    return indivisible(config.num_heads, "number of heads");
  return std::nullopt;
}

std::optional<SplitFault> fault_of_stages(Index layers, Index stages) {
  const auto fault = [](std::string rule) { return SplitFault{Number::stages, "config.value", std::move(rule)}; };
  if (stages < 1 || stages > layers) return fault(fmt::format("must lie within 1..{}, the number of layers", layers));
  const Index per_stage = (layers + stages - 1) / stages;
  if ((stages - 1) * per_stage >= layers)
    return fault(fmt::format("{} layers in pieces of {} leave a stage empty", layers, per_stage));
  return std::nullopt;
}

}  // namespace

std::optional<SplitFault> fault_of(const ModelConfig& config, const Split& split) {
  if (auto fault = fault_of_shards(config, split.tensor_parallel)) return fault;
  return fault_of_stages(config.num_layers, split.pipeline_parallel);
}

std::optional<std::string> why_not_apart(const ModelConfig& config) {
  if (config.rope.kind != RopeKind::dynamic && config.rope.kind != RopeKind::longrope) return std::nullopt;
  return fmt::format(
      "{} scaling rotates keys by the length of the prompt that is computed with them: a prompt that is "
      "cut gives others",
      name(config.rope.kind));
}

void check_parallel(const ModelConfig& config, const ConfigFields& fields) {
  const auto fault = fault_of(config, {config.tensor_parallel_shards, config.pipeline_parallel_stages});
  if (!fault) return;
  const bool shards = fault->number == Number::shards;
  throw fields.error(fault->code.c_str(), shards ? "tensor_parallel_shards" : "pipeline_parallel_stages", fault->rule);
}

std::optional<Error> why_not(const ModelConfig& config, const Split& split, const std::string& model) {
  const auto fault = fault_of(config, split);
  if (!fault) return std::nullopt;
  const bool shards = fault->number == Number::shards;
  return request_error(fault->code, fmt::format("{}: {} {}: {}", one_line(model), shards ? "--tp" : "--pp",
                                                shards ? split.tensor_parallel : split.pipeline_parallel, fault->rule));
}

}  // namespace mlbench
