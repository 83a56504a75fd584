// The small models and plans on which mistakes are planted, and honest runs made. A scene has what a kind of mistake
// needs to show: a configuration, weights prepared for it, and a plan.
#pragma once

#include <span>
#include <string_view>

#include "core/workers.h"
#include "harness/plan.h"
#include "models/weights.h"

namespace mlbench::selftest {

enum class Scene {
  llama,         // grouped queries, llama3 scaling
  llama_biased,  // biases on all projections, heads wider than h / Hq
  llama_long,    // positions up to 200
  llama_tied,    // the embedding is the output layer
  llama_tiny,    // some rows are tiny, so that the norms' epsilon counts
  llama_sharp,   // scores so large that their exponentials overflow
  llama_linear,  // the other ways of scaling the rotation
  llama_dynamic,
  llama_yarn,
  llama_longrope,
  orion,
  orion_shifted,  // rows with a mean far from 0
  olmo,           // clipped queries, keys and values
  olmo_gelu,
  phi,            // partial rotation, parallel block
  phi_norms,      // norms of queries and keys
  bigcode,        // one key-value head, learned positions, tanh GELU
  bigcode_heads,  // one for each query head, erf GELU, unscaled scores
};

struct SceneInfo {
  Scene scene;
  std::string_view name;  // for reports
};

[[nodiscard]] std::span<const SceneInfo> scenes();
[[nodiscard]] std::string_view name(Scene scene);

[[nodiscard]] ModelConfig config_of(Scene scene);
[[nodiscard]] Model model_of(Scene scene, DType dtype, std::uint64_t seed, Workers& workers);
[[nodiscard]] harness::Plan plan_of(Scene scene, std::uint64_t seed);

}  // namespace mlbench::selftest
