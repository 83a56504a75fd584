// The layout of goldens that were computed by Hugging Face transformers: datasets bear the names of its modules.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "golden/golden_file.h"
#include "models/taps.h"

namespace mlbench::golden {

using mlbench::to_string;

// The tap that a module's output is, "model.layers.0.mlp.fc1" -> layers.0.mlp.up; nothing for a module that is none.
[[nodiscard]] std::optional<TapId> tap_of_module(std::string_view module);

// The modules' names that map to a tap, for listings: "self_attn.q_proj".
[[nodiscard]] std::vector<std::string> modules_of_tap(Tap tap);

// The parts of the story that a file tells.
enum class Group { prefill, decode, batch_prefill, batch_decode, tree, after_commit };
[[nodiscard]] std::string_view name(Group group);

struct StepId {
  Group group = Group::prefill;
  Index step = -1;  // for decode, batch_decode and after_commit

  friend auto operator<=>(const StepId&, const StepId&) = default;
};
[[nodiscard]] std::string to_string(StepId id);  // "decode/2"

struct Result {
  StepId step;
  TapId tap;
  const DatasetInfo* dataset;
};

struct Unmapped {
  std::string dataset;
  std::string reason;
};

struct Inputs {
  // Story one: `batch` prompts of equal length, then decoding all of them together.
  Tensor<std::int64_t> prompt_ids;  // [batch, prompt]; empty: the file does not tell it
  Tensor<std::int64_t> decode_ids;  // [batch, steps]
  // Story two: prompts of several lengths, decoding, a token tree on sequence 0, its commit, and what follows.
  Tensor<std::int64_t> ragged_ids;        // [N]
  Tensor<std::int64_t> ragged_lengths;    // [b]
  Tensor<std::int64_t> logit_positions;   // [b]
  Tensor<std::int64_t> batch_decode_ids;  // [steps, b]
  Tensor<std::int64_t> tree_ids;          // [n]
  Tensor<std::int64_t> tree_parents;      // [n]
  std::optional<Index> tree_leaf;
  Tensor<std::int64_t> after_commit_ids;  // [m]
  Tensor<std::int64_t> chunks;            // [c]: pieces of the longest prompt
};

struct HfGolden {
  Inputs inputs;
  std::vector<Result> results;
  const DatasetInfo* batch_prefill_logits = nullptr;  // [b, V]
  std::vector<Unmapped> unmapped;                     // result datasets that no tap is known for
  Index num_results = 0;                              // datasets of results, mapped or not
};

// Reads the inputs and sorts the results. Throws golden.format where inputs are missing that results need, or
// contradict each other. The file must outlive the result.
[[nodiscard]] HfGolden read_hf_layout(GoldenFile& file);

// A golden's values in the layout of a tap (models/taps.h) whose rows are `batch` sequences one after the other; a
// value that the golden states once for all sequences is repeated. Throws golden.shape, naming the dataset and
// `expected`.
[[nodiscard]] Tensor<double> to_tap_layout(const Tensor<double>& values, const DatasetInfo& dataset,
                                           const Shape& expected, TapLayout layout, Index batch,
                                           const std::string& file);

}  // namespace mlbench::golden
