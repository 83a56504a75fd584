// The mistakes of parallel execution that the selftest plants, as data: each a kind of bug that models split over
// several workers have had. Planted in the parts that workers hold, in what they hand each other, and in how a stage
// goes through its layers.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness/selftest/parallel_scenes.h"

namespace mlbench::selftest {

// In the order of the table.
enum class ParallelMistake {
  // ---- sums over shards ----
  sum_dropped,
  sum_dropped_by_one,
  sum_doubled,
  sum_averaged,
  sum_of_bf16,
  sum_of_f16,
  sum_without_one,
  attention_without_one,
  mlp_without_one,
  // ---- biases of products that are summed ----
  attention_bias_undivided,
  attention_bias_dropped,
  attention_bias_divided_twice,
  mlp_bias_undivided,
  mlp_bias_dropped,
  mlp_bias_divided_twice,
  // ---- weights that shards hold ----
  q_of_other,
  q_round_robin,
  k_of_other,
  v_of_other,
  qkv_in_one_piece,
  gate_of_other,
  up_of_other,
  gate_up_in_one_piece,
  q_cut_by_columns,
  up_cut_by_columns,
  out_of_other,
  down_of_other,
  out_cut_by_rows,
  down_cut_by_rows,
  // ---- stages ----
  layers_one_early,
  layers_one_late,
  layers_by_floor,
  first_layer_twice,
  first_layer_skipped,
  rows_of_piece_before,
  rows_bf16,
  final_norm_everywhere,
  positions_everywhere,
  // ---- what all workers hold ----
  norm_differs,
  final_norm_differs,
  embedding_differs,
  head_differs,
  // ---- entries that go from the prefill instance to the decode instance ----
  transfer_page_short,
  transfer_to_other,
  transfer_layers_shifted,
  transfer_keys_unrotated,
  transfer_values_for_keys,
};

// Where a mistake can be made.
enum class Needs {
  shards,
  own_sums,  // one of attention's and one of the MLP's, not one of both
  biases,    // of products that are summed
  gate,
  shard_norms,  // with weights
  stages,
  uneven_stages,  // of L layers on P stages, P does not divide L
  positions,      // learned ones, and stages
  workers,
  transfer,  // two instances, here and below
  transfer_of_shards,
  transfer_of_layers,  // more than one of a worker
  transfer_of_rotated,
};
[[nodiscard]] bool has(const ParallelScene& scene, Needs needs);
[[nodiscard]] std::string_view name(Needs needs);  // for people: "shards, own biases"

struct ParallelMistakeInfo {
  ParallelMistake mistake;
  std::string_view name;  // as typed after --mistake
  std::string_view what;  // for people
  Needs needs;
  // As MistakeInfo's; and "parallel.differs TAP", the error in which workers differ in that tap.
  std::vector<std::string_view> places;
};

// All of them, by ParallelMistake.
[[nodiscard]] std::span<const ParallelMistakeInfo> parallel_mistakes();
[[nodiscard]] const ParallelMistakeInfo& info(ParallelMistake mistake);
// Every scene that has what it needs.
[[nodiscard]] std::vector<ParallelScene> scenes_of(ParallelMistake mistake);

// The table as Markdown, for docs/selftest.md.
[[nodiscard]] std::string list_of_parallel_mistakes();

}  // namespace mlbench::selftest
