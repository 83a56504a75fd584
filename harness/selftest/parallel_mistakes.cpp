#include "harness/selftest/parallel_mistakes.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/tensor_inventory.h"

namespace mlbench::selftest {
namespace {

using M = ParallelMistake;
using N = Needs;

bool any_tensor(const ModelConfig& config, bool (*is)(const TensorSpec&)) {
  return std::ranges::any_of(layer_tensors(config, 0), is);
}
bool summed_bias(const TensorSpec& spec) { return spec.bias && is_summed(spec.role); }
bool norm(const TensorSpec& spec) { return spec.role == TensorRole::norm; }

const std::vector<ParallelMistakeInfo>& table() {  // NOLINT(readability-function-size): a table
  static const std::vector<ParallelMistakeInfo> all = {
      // ---- sums over shards ----
      {M::sum_dropped,
       "shards-sum-dropped",
       "every shard goes on with its own summand",
       N::shards,
       {"parallel.differs attn.out", "parallel.differs block.sum"}},
      {M::sum_dropped_by_one,
       "shards-sum-dropped-by-one",
       "one shard goes on with its own summand",
       N::shards,
       {"parallel.differs attn.out", "parallel.differs block.sum"}},
      {M::sum_doubled,
       "shards-sum-doubled",
       "sums are added up twice",
       N::shards,
       {"attn.out.all_reduce", "block.sum.all_reduce"}},
      {M::sum_averaged,
       "shards-sum-averaged",
       "the mean in the place of the sum",
       N::shards,
       {"attn.out.all_reduce", "block.sum.all_reduce"}},
      {M::sum_of_bf16,
       "shards-sum-of-bf16",
       "summands are rounded to bf16 before they are added, undeclared",
       N::shards,
       {"attn.out.all_reduce", "block.sum.all_reduce"}},
      {M::sum_of_f16,
       "shards-sum-of-f16",
       "summands are rounded to f16 before they are added, undeclared",
       N::shards,
       {"attn.out.all_reduce", "block.sum.all_reduce"}},
      {M::sum_without_one,
       "shards-sum-without-one",
       "the last shard's summand is missing",
       N::shards,
       {"attn.out.all_reduce", "block.sum.all_reduce"}},
      {M::attention_without_one,
       "shards-attention-without-one",
       "the last shard's summand of attention is missing",
       N::own_sums,
       {"attn.out.all_reduce"}},
      {M::mlp_without_one,
       "shards-mlp-without-one",
       "the last shard's summand of the MLP is missing",
       N::own_sums,
       {"mlp.out.all_reduce"}},
      // ---- biases of products that are summed ----
      {M::attention_bias_undivided,
       "shards-attention-bias-undivided",
       "every shard adds the whole bias after attention",
       N::biases,
       {"attn.out.part"}},
      {M::attention_bias_dropped,
       "shards-attention-bias-dropped",
       "no shard adds the bias after attention",
       N::biases,
       {"attn.out.part"}},
      {M::attention_bias_divided_twice,
       "shards-attention-bias-divided-twice",
       "the bias after attention is divided by the shards twice",
       N::biases,
       {"attn.out.part"}},
      {M::mlp_bias_undivided,
       "shards-mlp-bias-undivided",
       "every shard adds the whole bias after the MLP",
       N::biases,
       {"mlp.out.part"}},
      {M::mlp_bias_dropped,
       "shards-mlp-bias-dropped",
       "no shard adds the bias after the MLP",
       N::biases,
       {"mlp.out.part"}},
      {M::mlp_bias_divided_twice,
       "shards-mlp-bias-divided-twice",
       "the bias after the MLP is divided by the shards twice",
       N::biases,
       {"mlp.out.part"}},
      // ---- weights that shards hold ----
      {M::q_of_other, "shards-q-of-other", "a shard has the query heads of the next", N::shards, {"attn.q_proj"}},
      {M::q_round_robin,
       "shards-q-round-robin",
       "query heads are dealt out in turn, not in runs",
       N::shards,
       {"attn.q_proj"}},
      {M::k_of_other, "shards-k-of-other", "a shard has the key heads of the next", N::shards, {"attn.k_proj"}},
      {M::v_of_other, "shards-v-of-other", "a shard has the value heads of the next", N::shards, {"attn.v_proj"}},
      {M::qkv_in_one_piece,
       "shards-qkv-in-one-piece",
       "queries, keys and values, one under another, are cut as if they were one",
       N::shards,
       {"attn.q_proj"}},
      {M::gate_of_other, "shards-gate-of-other", "a shard has the gate of the next", N::gate, {"mlp.gate"}},
      {M::up_of_other, "shards-up-of-other", "a shard has the up projection of the next", N::shards, {"mlp.up"}},
      {M::gate_up_in_one_piece,
       "shards-gate-up-in-one-piece",
       "gate and up, one under another, are cut as if they were one",
       N::gate,
       {"mlp.gate"}},
      {M::q_cut_by_columns,
       "shards-q-cut-by-columns",
       "the query projection is cut by columns, and read as rows",
       N::shards,
       {"attn.q_proj"}},
      {M::up_cut_by_columns,
       "shards-up-cut-by-columns",
       "the up projection is cut by columns, and read as rows",
       N::shards,
       {"mlp.up"}},
      {M::out_of_other,
       "shards-out-of-other",
       "a shard has the columns of attention's last product that are the next one's",
       N::shards,
       {"attn.out.part"}},
      {M::down_of_other,
       "shards-down-of-other",
       "a shard has the columns of the MLP's last product that are the next one's",
       N::shards,
       {"mlp.out.part"}},
      {M::out_cut_by_rows,
       "shards-out-cut-by-rows",
       "attention's last product is cut by rows, and read as columns",
       N::shards,
       {"attn.out.part"}},
      {M::down_cut_by_rows,
       "shards-down-cut-by-rows",
       "the MLP's last product is cut by rows, and read as columns",
       N::shards,
       {"mlp.out.part"}},
      // ---- stages ----
      {M::layers_one_early,
       "stages-layers-one-early",
       "a stage begins with the last layer of the one before",
       N::stages,
       {"attn_norm", "attn.q_proj"}},
      {M::layers_one_late,
       "stages-layers-one-late",
       "a stage begins with its second layer",
       N::stages,
       {"attn_norm", "attn.q_proj"}},
      {M::layers_by_floor,
       "stages-layers-by-floor",
       "weights are placed by layer div (L div P), layers run by ceil(L / P)",
       N::uneven_stages,
       {"attn_norm", "attn.q_proj"}},
      {M::first_layer_twice,
       "stages-first-layer-twice",
       "the last stage runs its first layer twice",
       N::stages,
       {"attn_norm"}},
      {M::first_layer_skipped,
       "stages-first-layer-skipped",
       "the last stage does not run its first layer",
       N::stages,
       {"attn_norm", "final_norm"}},
      {M::rows_of_piece_before,
       "stages-rows-of-piece-before",
       "a stage gets the rows of the micro-batch before",
       N::stages,
       {"stage.in"}},
      {M::rows_bf16,
       "stages-rows-bf16",
       "rows are rounded to bf16 on their way to the next stage",
       N::stages,
       {"stage.in"}},
      {M::final_norm_everywhere,
       "stages-final-norm-everywhere",
       "every stage ends with the final norm",
       N::stages,
       {"stage.in"}},
      {M::positions_everywhere,
       "stages-positions-everywhere",
       "every stage adds the position embedding",
       N::positions,
       {"attn_norm"}},
      // ---- what all workers hold ----
      {M::norm_differs,
       "replicas-norm-differs",
       "one shard's norm weights differ in a last bit",
       N::shard_norms,
       {"parallel.differs attn_norm"}},
      {M::final_norm_differs,
       "replicas-final-norm-differs",
       "one shard's final norm differs in a last bit",
       N::shard_norms,
       {"parallel.differs final_norm"}},
      {M::embedding_differs,
       "replicas-embedding-differs",
       "the last worker's embedding differs in a last bit",
       N::workers,
       {"parallel.differs embed"}},
      {M::head_differs,
       "replicas-head-differs",
       "the last worker's output layer differs in a last bit",
       N::workers,
       {"parallel.differs get_logits"}},
      // ---- entries that go from the prefill instance to the decode instance ----
      {M::transfer_page_short,
       "transfers-page-short",
       "the last page of what is sent is left out",
       N::transfer,
       {"cache.k"}},
      {M::transfer_to_other,
       "transfers-to-other",
       "a shard sends to the receiver's next shard",
       N::transfer_of_shards,
       {"cache.k"}},
      {M::transfer_layers_shifted,
       "transfers-layers-shifted",
       "a layer gets the entries of the next",
       N::transfer_of_layers,
       {"cache.k"}},
      {M::transfer_keys_unrotated,
       "transfers-keys-unrotated",
       "keys are sent as they are before rotation",
       N::transfer_of_rotated,
       {"cache.k"}},
      {M::transfer_values_for_keys,
       "transfers-values-for-keys",
       "values are sent in the place of keys, too",
       N::transfer,
       {"cache.k"}},
  };
  return all;
}

}  // namespace

bool has(const ParallelScene& scene, Needs needs) {
  const ModelConfig config = config_of(scene);
  const bool shards = scene.split.tensor_parallel > 1, stages = scene.split.pipeline_parallel > 1;
  const bool transfer = needs == N::transfer || needs == N::transfer_of_shards || needs == N::transfer_of_layers ||
                        needs == N::transfer_of_rotated;
  if (transfer != scene.disaggregated) return false;
  switch (needs) {
    case N::shards: return shards;
    case N::own_sums: return shards && config.architecture != Architecture::phi;
    case N::biases: return shards && any_tensor(config, summed_bias);
    case N::gate: return shards && config.gated_mlp();
    case N::shard_norms: return shards && any_tensor(config, norm);
    case N::stages: return stages;
    case N::uneven_stages: return stages && config.num_layers % scene.split.pipeline_parallel != 0;
    case N::positions: return stages && config.num_positions > 0;
    case N::workers: return true;
    case N::transfer: return true;
    case N::transfer_of_shards: return shards;
    case N::transfer_of_layers: return layers_of_stage(config.num_layers, scene.split.pipeline_parallel, 0).count > 1;
    case N::transfer_of_rotated: return config.rope.kind != RopeKind::none;
  }
  return false;
}

std::string_view name(Needs needs) {
  switch (needs) {
    case N::shards: return "shards";
    case N::own_sums: return "shards, but for phi";
    case N::biases: return "shards, with biases";
    case N::gate: return "shards, with a gate";
    case N::shard_norms: return "shards, with norms' weights";
    case N::stages: return "stages";
    case N::uneven_stages: return "stages, unequal";
    case N::positions: return "stages, gpt_bigcode";
    case N::workers: return "shards, stages";
    case N::transfer: return "prefill and decode apart";
    case N::transfer_of_shards: return "the same, with shards";
    case N::transfer_of_layers: return "the same, of several layers";
    case N::transfer_of_rotated: return "the same, but for gpt_bigcode";
  }
  return "";
}

std::span<const ParallelMistakeInfo> parallel_mistakes() { return table(); }

const ParallelMistakeInfo& info(ParallelMistake mistake) { return table()[static_cast<std::size_t>(mistake)]; }

std::vector<ParallelScene> scenes_of(ParallelMistake mistake) {
  std::vector<ParallelScene> out;
  std::ranges::copy_if(parallel_scenes(), std::back_inserter(out),
                       [&](const ParallelScene& scene) { return has(scene, info(mistake).needs); });
  return out;
}

std::string list_of_parallel_mistakes() {
  std::string out = "| mistake | what is wrong | planted in | right places |\n| --- | --- | --- | --- |\n";
  for (const ParallelMistakeInfo& mistake : parallel_mistakes()) {
    out += fmt::format("| `{}` | {} | {} | {} |\n", mistake.name, mistake.what, name(mistake.needs),
                       fmt::join(mistake.places, ", "));
  }
  return out;
}

}  // namespace mlbench::selftest
