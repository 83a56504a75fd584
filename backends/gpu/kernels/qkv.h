// What stands between the projections and attention, in one pass over queries, keys and values: clip, LayerNorm of
// heads (reference/ops.h's clamp() and layer_norm()), rotation (reference/rope.h's rotate()), keys and values rounded
// to nearest even into their slots of the cache.
//
//   x = clip(x);  x = (x - mean) / sqrt(var + eps) * weight + bias over d, queries and keys
//   y[i] = x[i] c - x[i + D/2] s,  y[i + D/2] = x[i + D/2] c + x[i] s for i < D/2;  y[j] = x[j] for j >= D
//
// q [R, Hq, d], k and v [R, Hkv, d] float32 at any strides; cos and sin [positions, D/2]; q_out [R, Hq, d] float32; the
// cache as CacheView says.
//
// A warp owns a head of a row; of its lanes each takes packs of 4 pairs, or single pairs where widths, strides or
// addresses allow no packs. Blocks have up to 256 threads and no barrier. All float32; sums over d in a lane one after
// the other, then as a tree over the warp. Moves R d (4 (Hq + 2 Hkv) + 4 Hq + 2 Hkv stored) bytes, and 4 for each value
// of q_normed and k_normed.
#pragma once

#include "backends/gpu/kernels/norms.h"

namespace mlbench::gpu::MLBENCH_GPU_TARGET {

// A head's values as they are read: clipped, and normalized where there are weights.
struct HeadValues {
  const float* x = nullptr;  // [d]
  int width = 0;             // d
  float clip = 0.0F;
  const float *weight = nullptr, *bias = nullptr;
  float mean = 0.0F, root = 1.0F;
};

// By comparisons, which a NaN fails.
template <int n>
GPU_DEVICE Pack<float, n> clipped(const HeadValues& head, int i) {
  Pack<float, n> out = load_pack<float, n>(head.x + i);
  if (head.clip == 0.0F) return out;
  for (int k = 0; k < n; ++k) out[k] = out[k] > head.clip ? head.clip : out[k] < -head.clip ? -head.clip : out[k];
  return out;
}

template <int n>
GPU_DEVICE Pack<float, n> head_values(const HeadValues& head, int i) {
  const Pack<float, n> values = clipped<n>(head, i);
  if (head.weight == nullptr) return values;
  return normalized<n>(values, head.mean, head.root, head.weight + i, at(head.bias, i));
}

// Its mean and the root of its variance, in two passes.
template <int W, int n>
GPU_DEVICE void measure(HeadValues& head, float eps) {
  float sum = 0.0F;
  for (int i = lane<W>() * n; i < head.width; i += W * n) {
    const Pack<float, n> values = clipped<n>(head, i);
    for (int k = 0; k < n; ++k) sum += values[k];
  }
  head.mean = warp_sum<W>(sum) / static_cast<float>(head.width);
  float squares = 0.0F;
  for (int i = lane<W>() * n; i < head.width; i += W * n) {
    const Pack<float, n> values = clipped<n>(head, i);
    for (int k = 0; k < n; ++k) squares += (values[k] - head.mean) * (values[k] - head.mean);
  }
  head.root = gpu_sqrt(warp_sum<W>(squares) / static_cast<float>(head.width) + eps);
}

// Cosines and sines of a row, [half] each; half 0: nothing is rotated.
struct Turn {
  const float *cos = nullptr, *sin = nullptr;
  int half = 0;
};

// The head, rotated, to `out`, and as it was before to `normed`, if wanted.
template <int W, int n, class T>
GPU_DEVICE void put_head(const HeadValues& head, const Turn& turn, float* normed, T* out) {
  for (int i = lane<W>() * n; i < turn.half; i += W * n) {
    const Pack<float, n> low = head_values<n>(head, i), high = head_values<n>(head, turn.half + i);
    const Pack<float, n> c = load_pack<float, n>(turn.cos + i), s = load_pack<float, n>(turn.sin + i);
    Pack<float, n> low_turned, high_turned;
    for (int k = 0; k < n; ++k) {
      low_turned[k] = low[k] * c[k] - high[k] * s[k];
      high_turned[k] = high[k] * c[k] + low[k] * s[k];
    }
    if (normed != nullptr) {
      store_pack<float, n>(normed + i, low);
      store_pack<float, n>(normed + turn.half + i, high);
    }
    store_floats<n>(out + i, low_turned);
    store_floats<n>(out + turn.half + i, high_turned);
  }
  for (int i = 2 * turn.half + lane<W>() * n; i < head.width; i += W * n) {
    const Pack<float, n> values = head_values<n>(head, i);
    if (normed != nullptr) store_pack<float, n>(normed + i, values);
    store_floats<n>(out + i, values);
  }
}

GPU_DEVICE HeadValues head_of(const QkvCall& call, const HeadRows& rows, Index row, int head) {
  return {rows.data + row * rows.row_stride + head * rows.head_stride, static_cast<int>(call.width), call.clip};
}

GPU_DEVICE Turn turn_of(const QkvCall& call, Index row) {
  if (call.cos == nullptr) return {};
  const Index half = call.rotary / 2, begin = call.positions[row] * half;
  return {call.cos + begin, call.sin + begin, static_cast<int>(half)};
}

template <int W, int n>
GPU_DEVICE void put_query(const QkvCall& call, Index row, int h) {
  HeadValues head = head_of(call, call.q, row, h);
  head.weight = call.q_weight;
  head.bias = call.q_bias;
  if (head.weight != nullptr) measure<W, n>(head, call.norm_eps);
  const Index out = (row * call.heads + h) * call.width;
  put_head<W, n>(head, turn_of(call, row), at(call.q_normed, out), call.q_out + out);
}

template <int W, int n, class T>
GPU_DEVICE void put_key(const QkvCall& call, Index row, int h) {
  HeadValues head = head_of(call, call.k, row, h);
  head.weight = call.k_weight;
  head.bias = call.k_bias;
  if (head.weight != nullptr) measure<W, n>(head, call.norm_eps);
  T* entry = static_cast<T*>(call.cache.data) + call.cache.offset(call.layer, 0, call.slots[row], h);
  put_head<W, n>(head, turn_of(call, row), at(call.k_normed, (row * call.kv_heads + h) * call.width), entry);
}

template <int W, int n, class T>
GPU_DEVICE void put_value(const QkvCall& call, Index row, int h) {
  T* entry = static_cast<T*>(call.cache.data) + call.cache.offset(call.layer, 1, call.slots[row], h);
  put_head<W, n>(head_of(call, call.v, row, h), Turn(), nullptr, entry);
}

template <int W, int n, class T>
GPU_DEVICE void put_some_head(const QkvCall& call) {
  const Index row = block_place().x;
  const int heads = static_cast<int>(call.heads), kv_heads = static_cast<int>(call.kv_heads);
  const int h = block_place().y * (block_extent().x / W) + warp<W>();
  if (h < heads) {
    put_query<W, n>(call, row, h);
  } else if (h < heads + kv_heads) {
    put_key<W, n, T>(call, row, h - heads);
  } else if (h < heads + 2 * kv_heads) {
    put_value<W, n, T>(call, row, h - heads - kv_heads);
  }
}

GPU_DEVICE bool heads_in_packs(const HeadRows& rows) {
  return in_packs(rows.data, rows.row_stride) && rows.head_stride % kPack == 0;
}

template <int W, DType type>
GPU_KERNEL void rotate_and_append_heads(QkvCall call) {
  using T = typename Stored<type>::type;
  const Index width = call.width;
  if (heads_in_packs(call.q) && heads_in_packs(call.k) && heads_in_packs(call.v) && in_packs(call.q_weight, width) &&
      in_packs(call.q_bias, width) && in_packs(call.k_weight, width) && in_packs(call.k_bias, width) &&
      in_packs(call.cos, call.rotary / 2) && in_packs(call.sin, call.rotary / 2) && in_packs(call.q_out, width) &&
      in_packs(call.q_normed, width) && in_packs(call.k_normed, width) &&
      in_packs(static_cast<T*>(call.cache.data), width)) {
    put_some_head<W, kPack, T>(call);
  } else {
    put_some_head<W, 1, T>(call);
  }
}

template <int W>
void launch_rotate_and_append(Stream& stream, const QkvCall& call) {
  if (call.rows == 0) return;
  constexpr Index kWarps = 256 / W;
  const Index heads = call.heads + 2 * call.kv_heads, warps = std::min(heads, kWarps);
  const Place grid{static_cast<int>(call.rows), static_cast<int>((heads + warps - 1) / warps), 1};
  const Place block{static_cast<int>(warps) * W, 1, 1};
  with_stored(call.cache.stored,
              [&](auto type) { launch(rotate_and_append_heads<W, type()>, grid, block, 0, stream, call); });
}

}  // namespace mlbench::gpu::MLBENCH_GPU_TARGET
