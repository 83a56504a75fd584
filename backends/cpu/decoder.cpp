#include "backends/cpu/decoder.h"

#include <algorithm>

#include <fmt/format.h>

#include "backends/cpu/threads.h"
#include "core/error.h"

namespace mlbench::cpu {
namespace {

Heads packed(float* data, Index rows, Index count, Index width) {
  return {
      .data = data, .rows = rows, .count = count, .width = width, .row_stride = count * width, .head_stride = width};
}

}  // namespace

Decoder::Decoder(const Model& model, const backends::RunConfig& run, int threads)
    : config_(model.config),
      design_(stack::design_of(config_)),
      threads_(threads),
      shards_(run.tensor_parallel),
      group_(run.group),
      products_(run.dtype, threads),
      weights_(model, run.dtype, shards_, products_),
      rotation_(config_.rope),
      attention_(threads) {}

void Decoder::embed(std::span<const std::int32_t> ids, float* out) const {
  const auto h = static_cast<std::size_t>(config_.hidden_size);
  for (std::size_t i = 0; i < ids.size(); ++i) weights_.tokens.read(ids[i], {out + i * h, h});
}

void Decoder::begin(PagedKvCache& cache) {
  const paging::ForwardPlan& plan = cache.plan();
  std::vector<Index> positions;
  for (const paging::PlannedRow& row : plan.rows) {
    positions.push_back(row.position);
    if (!design_.learned_positions || row.position < weights_.positions.size()) continue;
    throw request_error("input.position_range",
                        fmt::format("row {} is at position {}: the position embedding ends at {}", positions.size() - 1,
                                    row.position, weights_.positions.size() - 1));
  }
  cache_ = &cache;
  rows_ = static_cast<Index>(plan.rows.size());
  if (!design_.learned_positions) rotation_.set(positions);
  attention_.set_plan(plan);
}

void Decoder::enter(float* x, Taps& taps) {
  taps.set_layer(-1);
  const Index h = config_.hidden_size;
  if (design_.learned_positions) {
    taps.rows(Tap::embed_token, x, rows_, h);
    float* positions = norm_.floats(rows_ * h);
    for (Index row = 0; row < rows_; ++row) {
      const Index position = cache_->plan().rows[static_cast<std::size_t>(row)].position;
      weights_.positions.read(position, {positions + row * h, static_cast<std::size_t>(h)});
    }
    taps.rows(Tap::embed_position, positions, rows_, h);
    add_rows(x, positions);
  }
  taps.rows(Tap::embed, x, rows_, h);
  if (!design_.learned_positions) give_rotation(taps);
}

void Decoder::give_rotation(const Taps& taps) const {
  const Index half = rotation_.half();
  for (const Tap tap : {Tap::rope_cos, Tap::rope_sin}) {
    if (!taps.wants(tap)) continue;
    std::vector<float> both;  // halves repeated
    for (Index row = 0; row < rows_; ++row) {
      const float* values = tap == Tap::rope_cos ? rotation_.cos(row) : rotation_.sin(row);
      both.insert(both.end(), values, values + half);
      both.insert(both.end(), values, values + half);
    }
    taps.give(tap, {rows_, 2 * half}, both.data());
  }
}

void Decoder::layer(Index index, float* x, Taps& taps) {
  taps.set_layer(index);
  const LayerWeights& w = weights_.layers[static_cast<std::size_t>(index)];
  const Index h = config_.hidden_size;
  float* u = norm_.floats(rows_ * h);
  normalize_rows(w.attn_norm, x, u);
  taps.rows(Tap::attn_norm, u, rows_, h);
  if (design_.parallel && shards_ > 1) {
    add_block(index, w, u, x, taps);
  } else {
    add_rows(x, attention(index, w, u, taps));
    if (!design_.parallel) {
      taps.rows(Tap::attn_residual, x, rows_, h);
      normalize_rows(w.mlp_norm, x, u);
      taps.rows(Tap::mlp_norm, u, rows_, h);
    }
    add_rows(x, mlp(w, u, taps));
  }
  taps.rows(Tap::layer_out, x, rows_, h);
}

void Decoder::add_block(Index layer, const LayerWeights& w, const float* u, float* x, const Taps& taps) {
  float* block = block_.floats(rows_ * config_.hidden_size);
  std::copy_n(attention(layer, w, u, taps), rows_ * config_.hidden_size, block);
  add_rows(block, mlp(w, u, taps));
  sum_over_shards(block, Tap::block_part, Tap::block_sum, taps);
  add_rows(x, block);
}

void Decoder::sum_over_shards(float* rows, Tap part, Tap whole, const Taps& taps) const {
  const Index h = config_.hidden_size;
  if (shards_ > 1) {
    taps.rows(part, rows, rows_, h);
    if (design_.parallel && part != Tap::block_part) return;  // later, together
    group_->all_reduce({rows, static_cast<std::size_t>(rows_ * h)});
  }
  taps.rows(whole, rows, rows_, h);
}

void Decoder::final_norm(float* x, Taps& taps) {
  taps.set_layer(-1);
  normalize_rows(weights_.final_norm, x, x);
  taps.rows(Tap::final_norm, x, rows_, config_.hidden_size);
}

void Decoder::logits(const float* hidden, Index rows, float* out, Taps& taps) {
  taps.set_layer(-1);
  products_.multiply(products_.input(hidden, rows, config_.hidden_size), weights_.lm_head, out);
  taps.rows(Tap::logits, out, rows, config_.vocab_size);
}

// Threads for an operation on rows of `width` values, each of which costs about as much as eight multiplications.
int Decoder::team(Index width) const { return worthwhile(8 * rows_ * width, threads_); }

void Decoder::normalize_rows(const Norm& norm, const float* x, float* y) const {
  const Index h = config_.hidden_size;
  parallel_for(rows_, team(h), [&](Index row, int) { normalize(design_.norm, norm, x + row * h, y + row * h, h); });
}

void Decoder::normalize_heads(const Norm& norm, const Heads& heads) const {
  parallel_for(rows_, team(heads.count * heads.width), [&](Index row, int) {
    for (Index head = 0; head < heads.count; ++head) {
      normalize(design_.norm, norm, heads.at(row, head), heads.at(row, head), heads.width);
    }
  });
}

void Decoder::add_rows(float* x, const float* y) const {
  const Index h = config_.hidden_size;
  parallel_for(rows_, team(h), [&](Index row, int) { add(x + row * h, y + row * h, h); });
}

Decoder::Qkv Decoder::split_fused(float* z) const {
  const Index Hq = config_.num_heads, Hkv = config_.num_kv_heads, d = config_.head_dim;
  const bool interleaved = design_.qkv == stack::QkvLayout::interleaved;
  Heads q = packed(z, rows_, Hq, d);
  q.row_stride = (Hq + 2 * Hkv) * d;
  q.head_stride = interleaved ? 3 * d : d;
  Heads k = q;
  k.count = Hkv;
  k.data = z + (interleaved ? d : Hq * d);
  Heads v = k;
  v.data = k.data + d;
  return {q, k, v};
}

Decoder::Qkv Decoder::project(const LayerWeights& w, const float* u, const Taps& taps) {
  const Index q_width = config_.q_width(), kv_width = config_.kv_width();
  float* q = qkv_.floats(rows_ * (q_width + 2 * kv_width));
  const ProductInput in = products_.input(u, rows_, config_.hidden_size);
  if (design_.qkv != stack::QkvLayout::separate) {
    products_.multiply(in, w.qkv, q);
    taps.rows(Tap::qkv_proj, q, rows_, q_width + 2 * kv_width);
    return split_fused(q);
  }
  float* k = q + rows_ * q_width;
  float* v = k + rows_ * kv_width;
  products_.multiply(in, w.q, q);
  products_.multiply(in, w.k, k);
  products_.multiply(in, w.v, v);
  taps.rows(Tap::q_proj, q, rows_, q_width);
  taps.rows(Tap::k_proj, k, rows_, kv_width);
  taps.rows(Tap::v_proj, v, rows_, kv_width);
  if (config_.clip_qkv) clamp(q, rows_ * (q_width + 2 * kv_width), static_cast<float>(*config_.clip_qkv));
  return {packed(q, rows_, config_.num_heads, config_.head_dim),
          packed(k, rows_, config_.num_kv_heads, config_.head_dim),
          packed(v, rows_, config_.num_kv_heads, config_.head_dim)};
}

void Decoder::give_stored(Tap tap, Index layer, PagedKvCache::Kind kind, const Taps& taps) const {
  if (!taps.wants(tap)) return;
  const KvShape& shape = cache_->shape();
  const std::size_t bytes = static_cast<std::size_t>(shape.width) * size_bytes(shape.dtype);
  std::vector<std::byte> out;  // [Hkv, T, d]
  for (Index head = 0; head < shape.heads; ++head) {
    for (Index row = 0; row < rows_; ++row) {
      const std::byte* values = cache_->at(layer, kind, cache_->slot(row), head);
      out.insert(out.end(), values, values + bytes);
    }
  }
  taps.give(tap, shape.dtype, {shape.heads, rows_, shape.width}, out.data());
}

const float* Decoder::attention(Index layer, const LayerWeights& w, const float* u, const Taps& taps) {
  const Qkv qkv = project(w, u, taps);
  if (config_.qk_layernorm) {
    normalize_heads(w.q_norm, qkv.q);
    normalize_heads(w.k_norm, qkv.k);
    taps.heads(Tap::q_norm, qkv.q);
    taps.heads(Tap::k_norm, qkv.k);
  }
  if (!design_.learned_positions) {
    parallel_for(rows_, team(config_.q_width() + config_.kv_width()), [&](Index row, int) {
      rotation_.rotate(qkv.q, row);
      rotation_.rotate(qkv.k, row);
    });
  }
  cache_->append(layer, qkv.k, qkv.v);
  taps.heads(Tap::q, qkv.q);
  give_stored(Tap::k, layer, PagedKvCache::kKey, taps);
  give_stored(Tap::v, layer, PagedKvCache::kValue, taps);

  const Index width = config_.q_width();
  float* context = context_.floats(rows_ * width);
  attention_.run(qkv.q, *cache_, layer, design_.score_scale, context, taps);
  taps.rows(Tap::context, context, rows_, width);
  float* out = result_.floats(rows_ * config_.hidden_size);
  products_.multiply(products_.input(context, rows_, width), w.attn_out, out);
  sum_over_shards(out, Tap::attn_part, Tap::attn_out, taps);
  return out;
}

const float* Decoder::mlp(const LayerWeights& w, const float* u, const Taps& taps) {
  const Index width = config_.intermediate_size;
  float* hidden = hidden_.floats(rows_ * width);  // [T, I]: gate, or the first projection, and what becomes of it
  const ProductInput in = products_.input(u, rows_, config_.hidden_size);
  products_.multiply(in, design_.gated ? w.gate : w.up, hidden);
  taps.rows(design_.gated ? Tap::gate : Tap::up, hidden, rows_, width);
  const bool in_one_pass = design_.gated && !taps.wants(Tap::act);
  if (!in_one_pass) {
    parallel_for(rows_, team(width),
                 [&](Index row, int) { activate(config_.activation, hidden + row * width, width); });
    taps.rows(Tap::act, hidden, rows_, width);
  }
  if (design_.gated) {
    float* up = up_.floats(rows_ * width);
    products_.multiply(in, w.up, up);
    taps.rows(Tap::up, up, rows_, width);
    parallel_for(rows_, team(width), [&](Index row, int) {
      float* gate = hidden + row * width;
      if (in_one_pass) return activate_gate(config_.activation, gate, up + row * width, width);
      multiply(gate, up + row * width, width);
    });
    taps.rows(Tap::mlp_hidden, hidden, rows_, width);
  }
  float* out = result_.floats(rows_ * config_.hidden_size);
  products_.multiply(products_.input(hidden, rows_, width), w.down, out);
  sum_over_shards(out, Tap::mlp_part, Tap::mlp_out, taps);
  return out;
}

}  // namespace mlbench::cpu
