// A model's weights on a device, in the storage type: what products take, side by side where one product can take
// several. Vectors are float32, of values rounded to the storage type.
#pragma once

#include <vector>

#include "backends/gpu/runtime.h"
#include "backends/stack/design.h"
#include "models/weights.h"

namespace mlbench::gpu {

struct DeviceNorm {
  Memory weight, bias;  // float32 [width]; without data: 1 and 0
};

// y = x W^T + b
struct DeviceLinear {
  Memory weight;  // stored [out, in]
  Memory bias;    // float32 [out]; without data: none
  Index in = 0, out = 0;
};

// What a layer lacks is empty.
struct DeviceLayer {
  DeviceNorm attn_norm, mlp_norm, q_norm, k_norm;
  DeviceLinear qkv;       // all projections in one: as the model has it fused, else [q; k; v]
  DeviceLinear attn_out;  // [h, Hq*d]
  DeviceLinear up;        // [I, h], with a gate [gate; up]
  DeviceLinear down;      // [h, I]
};

struct DeviceWeights {
  // Returns when all stand on the device. The model, one of so many shards, is read in the order of use, while what was
  // read before is copied.
  DeviceWeights(Runtime& runtime, Stream& stream, const Model& model, DType stored, Index shards);

  Memory tokens;     // stored [V, h]
  Memory positions;  // stored [n_positions, h]; GPT BigCode
  Index num_positions = 0;
  std::vector<DeviceLayer> layers;
  DeviceNorm final_norm;
  DeviceLinear lm_head;  // tied: without a weight of its own
  [[nodiscard]] const void* lm_head_weight() const {
    return lm_head.weight.data() != nullptr ? lm_head.weight.data() : tokens.data();
  }
};

// What they take.
[[nodiscard]] std::uint64_t weights_bytes(const ModelConfig& config, DType stored);

}  // namespace mlbench::gpu
