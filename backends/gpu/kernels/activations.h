// Activations, alone or as gates.
//
//   act = activation(gate);   hidden = act * up, or act where there is no `up`
//
// gate and up float32, rows of `stride`; act, hidden float32 [R, width]; hidden_stored [R, width] rounded to nearest
// even. A block owns 1024 columns of a row, a thread one pack of 4. All float32; the formulas below are
// reference/ops.h's activation(), written so that nothing cancels: a few units in the last place, in the negative tail
// too. Moves R width (4 gate + 4 up + what is wanted) bytes.
#pragma once

#include "backends/gpu/kernels/row_packs.h"

namespace mlbench::gpu::MLBENCH_GPU_TARGET {

// v / (1 + e^z).
GPU_DEVICE float logistic(float v, float z) { return v / (1.0F + gpu_exp(z)); }

// v/2 (1 + tanh(s)), s = sqrt(2/pi) (v + 0.044715 v^3), is v / (1 + e^(-2s)). gelu_fast's sqrt(2/pi), 0.7978845608, is
// the same float32.
GPU_DEVICE float gelu_tanh(float v) {
  constexpr float kLinear = -2.0F * 0.79788456080286536F;
  constexpr float kCubic = kLinear * 0.044715F;
  return logistic(v, v * (kCubic * (v * v) + kLinear));
}

// v/2 (1 + erf(v / sqrt(2))) = v Q for v < 0 and v (1 - Q) else, Q = erfc(a / sqrt(2)) / 2 being the tail of the normal
// distribution beyond a = |v|. The approximation of Q e^(a^2 / 2), its range and its accuracy are explained in
// backends/cpu/activations.cpp.
GPU_DEVICE float gelu_erf(float v) {
  const float a = gpu_min(gpu_abs(v), 14.5F);
  float p = a * 4.08560091684e-3F + 4.04418097378e-2F;
  p = a * p + 1.82690137355e-1F;
  p = a * p + 4.37594974922e-1F;
  p = a * p + 0.5F;
  float r = a * 1.02409602573e-2F + 1.01379162318e-1F;
  r = a * r + 4.68024952025e-1F;
  r = a * r + 1.20029689916F;
  r = a * r + 1.67307479486F;
  r = a * r + 1.0F;
  const float tail = gpu_exp(a * a * -0.5F) * (p / r);
  return v * (v < 0.0F ? tail : 1.0F - tail);
}

GPU_DEVICE float activated(Activation kind, float v) {
  switch (kind) {
    case Activation::silu: return logistic(v, -v);
    case Activation::gelu_erf: return gelu_erf(v);
    case Activation::gelu_tanh:
    case Activation::gelu_fast: return gelu_tanh(v);
    case Activation::relu: return v < 0.0F ? 0.0F : v;  // a NaN stays one
  }
  return v;
}

template <int n, class T>
GPU_DEVICE void activate_row(const ActivationCall& call) {
  const Index r = block_place().x;
  const float* gate = call.gate + r * call.stride;
  const Index begin = r * call.width;
  const Columns columns = own_columns<n>(call.width);
  for (int i = columns.first; i < columns.end; i += columns.step) {
    Pack<float, n> values = load_pack<float, n>(gate + i);
    for (int k = 0; k < n; ++k) values[k] = activated(call.kind, values[k]);
    if (call.act != nullptr) store_pack<float, n>(call.act + begin + i, values);
    if (call.up != nullptr) {
      const Pack<float, n> factors = load_pack<float, n>(call.up + r * call.stride + i);
      for (int k = 0; k < n; ++k) values[k] *= factors[k];
    }
    if (call.hidden != nullptr) store_pack<float, n>(call.hidden + begin + i, values);
    if (call.hidden_stored != nullptr) store_floats<n>(static_cast<T*>(call.hidden_stored) + begin + i, values);
  }
}

template <int W, DType type>
GPU_KERNEL void activate_rows(ActivationCall call) {
  using T = typename Stored<type>::type;
  if (in_packs(call.gate, call.stride) && in_packs(call.up, call.stride) && in_packs(call.act, call.width) &&
      in_packs(call.hidden, call.width) && in_packs(static_cast<T*>(call.hidden_stored), call.width)) {
    activate_row<kPack, T>(call);
  } else {
    activate_row<1, T>(call);
  }
}

template <int W>
void launch_activate(Stream& stream, const ActivationCall& call) {
  if (call.rows == 0 || call.width == 0) return;
  const LaunchShape shape = shape_of_rows<W>(call.rows, call.width);
  with_stored(call.stored,
              [&](auto type) { launch(activate_rows<W, type()>, shape.grid, shape.block, 0, stream, call); });
}

}  // namespace mlbench::gpu::MLBENCH_GPU_TARGET
