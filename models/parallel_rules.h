// Which tensor-parallel and pipeline splits of a model are legal.
#pragma once

#include "models/config.h"
#include "models/config_fields.h"

namespace mlbench {

// Checks config.tensor_parallel_shards (S) and config.pipeline_parallel_stages (P). S >= 1 and 1 <= P <= L, and no
// stage may be left without a layer when each takes ceil(L / P): config.value. Llama, Orion, OLMo: S divides I and Hkv;
// Phi: I, Hq and Hkv: parallel.indivisible. GPT BigCode, with one key-value head: S = 1, else parallel.unsupported.
void check_parallel(const ModelConfig& config, const ConfigFields& fields);

}  // namespace mlbench
