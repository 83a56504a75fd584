// What one verification runs: the user's own plan, and what `Inputs` adds to it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/results.h"
#include "harness/plan.h"
#include "models/parts.h"

namespace mlbench::harness {

// A plan and what it is run on.
struct VerifyCase {
  std::string name;  // "exact-1", the prefix of its stories' names; empty: the user's own plan
  Inputs inputs = Inputs::random;
  std::optional<ModelConfig> config;  // of a small model made for the case; nothing: the user's model
  Plan plan;
};

// exact: three small models of the architecture whose sizes lie around those of tiles and vectors. adversarial: a
// ragged batch of the user's model on rows that bring out what others hide, and, where positions are rotated, a small
// model of each kind of scaling with prompts past its borders. random: `plan`. `split`: under which they are run; small
// models have as many layers and, in each shard, the sizes that they would have in one piece.
[[nodiscard]] std::vector<VerifyCase> make_cases(const ModelConfig& config, const Plan& plan,
                                                 std::span<const Inputs> inputs, std::uint64_t seed,
                                                 const Split& split = {});

// What of them is left when each plan is narrowed to those methods or that call (with_methods, up_to_call); the same
// errors where nothing is.
[[nodiscard]] std::vector<VerifyCase> with_methods(std::vector<VerifyCase> cases,
                                                   std::span<const backends::Method> methods);
[[nodiscard]] std::vector<VerifyCase> up_to_call(std::vector<VerifyCase> cases, const std::string& label);

}  // namespace mlbench::harness
