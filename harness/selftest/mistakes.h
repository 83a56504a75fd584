// The mistakes that the selftest plants, as data: each a kind of bug that implementations of inference have had.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness/selftest/scenes.h"

namespace mlbench::selftest {

// In the order of the table. Where one stands in the code, it is asked for by this name.
enum class Mistake {
  // ---- rotary embedding ----
  rope_pairs_neighbours,
  rope_turns_back,
  rope_theta_default,
  rope_position_one_further,
  rope_position_of_batch_row,
  rope_position_of_chunk,
  rope_head_size_in_exponent,
  rope_half_of_part,
  rope_pairs_across_head,
  rope_llama3_ignored,
  rope_llama3_no_blend,
  rope_linear_twice,
  rope_dynamic_ignored,
  rope_dynamic_of_batch,
  rope_yarn_no_magnitude,
  rope_yarn_no_whole_dims,
  rope_longrope_always_short,
  rope_not_on_keys,
  rope_on_values,
  rope_angles_single,
  rope_table_bf16,
  // ---- positions and embeddings ----
  wpe_one_further,
  wpe_of_first_row,
  embed_next_row,
  embed_scaled,
  // ---- what a query sees ----
  mask_sees_next,
  mask_misses_itself,
  mask_starts_at_chunk,
  mask_of_longest,
  tree_sees_sibling,
  tree_misses_grandparent,
  tree_position_is_entry,
  window_one_longer,
  window_no_sink,
  window_ignored,
  window_keys_keep_angle,
  // ---- attention ----
  heads_grouped_modulo,
  heads_of_kv_reversed,
  heads_context_order,
  scale_missing,
  scale_twice,
  scale_of_hidden_size,
  scale_always,
  softmax_bf16,
  softmax_no_maximum,
  softmax_sum_short,
  context_last_key_dropped,
  context_masked_times_nan,
  context_head_off_by_1e_4,
  keys_rotated_again,
  // ---- norms ----
  norm_eps_missing,
  norm_eps_outside_root,
  norm_eps_default,
  norm_divides_by_n_minus_1,
  norm_keeps_mean,
  norm_one_pass_variance,
  norm_gain_plus_one,
  norm_gain_dropped,
  norm_bias_dropped,
  norm_weights_of_other,
  norm_of_heads_skipped,
  norm_of_heads_over_all,
  norm_final_skipped,
  // ---- products and their weights ----
  product_tail_dropped,
  product_sums_bf16,
  product_inputs_coarse,
  product_last_row_repeated,
  bias_dropped,
  bias_doubled,
  mlp_bias_dropped,
  weights_rows_exchanged,
  weights_transposed,
  weights_layers_exchanged,
  weights_k_v_exchanged,
  fused_split_as_blocks,
  clip_missing,
  clip_after_rotation,
  clip_queries_only,
  clip_upper_only,
  // ---- MLP and residuals ----
  act_silu_is_gelu,
  act_tanh_is_erf,
  act_erf_is_tanh,
  act_of_config_ignored,
  gate_up_exchanged,
  act_on_up,
  residual_dropped,
  residual_twice,
  residual_of_normed,
  parallel_made_sequential,
  parallel_without_input,
  // ---- output layer and results ----
  head_untied_uses_embedding,
  head_tied_transposed,
  head_bias_dropped,
  head_bias_twice,
  logits_bf16,
  logits_constant,
  logits_last_unwritten,
  result_row_before_last,
  result_positions_sorted,
  result_batch_reversed,
  result_truncated,
  result_written_past_end,
  input_overwritten,
  padding_read,
  taps_change_result,
  run_to_run,
  select_one_further,
  // ---- paged cache ----
  cache_page_stale,
  cache_page_border,
  cache_of_other_sequence,
  cache_last_value_unwritten,
  cache_coarser,
  fork_not_copied,
  fork_copies_one_less,
  fork_shares_page,
  popn_ignored,
  popn_keeps_one,
  commit_keeps_first,
  commit_of_other_leaf,
  remove_leaks_pages,
  clear_leaks_pages,
  length_one_more,
  positions_reported_late,
};

struct MistakeInfo {
  Mistake mistake;
  std::string_view name;  // as typed after --mistake
  std::string_view what;  // for people
  Scene scene;            // a configuration and plan that show it
  // Where it is rightly placed, any of them: kinds of taps ("attn.q"), taps ("layers.1.attn.context"), codes of
  // findings ("memory.canary") or names of invariances.
  std::vector<std::string_view> places;
};

// All of them, by Mistake.
[[nodiscard]] std::span<const MistakeInfo> mistakes();
[[nodiscard]] const MistakeInfo& info(Mistake mistake);

// The table as Markdown, for docs/selftest.md.
[[nodiscard]] std::string list_of_mistakes();

}  // namespace mlbench::selftest
