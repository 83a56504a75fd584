// Which tensor-parallel and pipeline splits of a model are legal.
#pragma once

#include <optional>
#include <string>

#include "core/error.h"
#include "models/config.h"
#include "models/config_fields.h"
#include "models/parts.h"

namespace mlbench {

// What is wrong with a split: one of its two numbers, and the rule that it breaks: "must divide the MLP size, 11008".
struct SplitFault {
  enum class Number { shards, stages };
  Number number;
  std::string code, rule;
};

// S >= 1 and 1 <= P <= L, and no stage may be left without a layer when each takes ceil(L / P): config.value. Llama,
// Orion, OLMo: S divides I and Hkv; Phi: I, Hq and Hkv: parallel.indivisible. GPT BigCode, with one key-value head:
// S = 1, else parallel.unsupported.
[[nodiscard]] std::optional<SplitFault> fault_of(const ModelConfig& config, const Split& split);

// Why prompts of the model cannot be computed apart from what follows them: where the rotation of a key depends on how
// many rows its call has, a prompt that is cut gives other keys.
[[nodiscard]] std::optional<std::string> why_not_apart(const ModelConfig& config);

// Checks the split of the configuration itself; the error names its field.
void check_parallel(const ModelConfig& config, const ConfigFields& fields);

// Of a split from the command line: the error names the model and --tp or --pp. Nothing where the split is legal.
[[nodiscard]] std::optional<Error> why_not(const ModelConfig& config, const Split& split, const std::string& model);

}  // namespace mlbench
