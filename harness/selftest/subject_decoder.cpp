#include "harness/selftest/subject_decoder.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::selftest {

SubjectDecoder::SubjectDecoder(const Model& model, DType type, const Planted& planted)
    : ops_(model.config, type, planted),
      rope_(model.config, planted),
      weights_(model, type, planted),
      attention_(ops_, rope_) {}

// ---- what enters the stack ----

Rows SubjectDecoder::embed(std::span<const std::int32_t> ids) const {
  const Index h = config().hidden_size;
  Rows out({static_cast<Index>(ids.size()), h});
  for (std::size_t i = 0; i < ids.size(); ++i) {
    Index id = ids[i];
    if (id + 1 < config().vocab_size && planted().at(Mistake::embed_next_row)) ++id;
    std::ranges::copy(weights_.tokens.row(id), out.row(static_cast<Index>(i)).begin());
  }
  if (planted().at(Mistake::embed_scaled)) {
    for (float& value : out.values()) value = rounded(type(), value * std::sqrt(static_cast<float>(h)));
  }
  return out;
}

void SubjectDecoder::begin(SubjectCache& cache) {
  const paging::ForwardPlan& plan = cache.plan();
  if (!rope_.rotates()) {
    for (std::size_t row = 0; row < plan.rows.size(); ++row) {
      if (plan.rows[row].position < weights_.positions.rows()) continue;
      throw request_error("input.position_range",
                          fmt::format("row {} is at position {}: the position embedding ends at {}", row,
                                      plan.rows[row].position, weights_.positions.rows() - 1));
    }
  }
  cache_ = &cache;
  if (rope_.rotates()) angles_ = rope_.angles(plan);
}

Rows SubjectDecoder::enter(const Rows& x, SubjectTaps& taps) const {
  if (rope_.rotates()) {
    taps.rows(Tap::embed, x);
    const Index half = config().rope.rotary_dim / 2;
    Rows cos({x.rows(), 2 * half}), sin(cos.shape());  // halves repeated
    for (Index t = 0; t < x.rows(); ++t) {
      const Angles& angles = angles_[static_cast<std::size_t>(t)];
      for (const Index start : {Index{0}, half}) {
        std::ranges::copy(angles.cos, cos.row(t).begin() + start);
        std::ranges::copy(angles.sin, sin.row(t).begin() + start);
      }
    }
    taps.rows(Tap::rope_cos, DType::f32, cos);
    taps.rows(Tap::rope_sin, DType::f32, sin);
    return x;
  }
  const paging::ForwardPlan& plan = cache_->plan();
  const bool one_each = plan.rows.size() > 1 && plan.rows.size() == plan.sequences.size();
  Rows positions(x.shape());
  for (Index t = 0; t < x.rows(); ++t) {
    Index position = position_of(plan, static_cast<std::size_t>(t), planted());
    if (one_each && planted().at(Mistake::wpe_of_first_row)) position = plan.rows.front().position;
    if (planted().at(Mistake::wpe_one_further)) ++position;
    std::ranges::copy(weights_.positions.row(std::min(position, weights_.positions.rows() - 1)),
                      positions.row(t).begin());
  }
  Rows out = ops_.add(x, positions);
  taps.rows(Tap::embed_token, x);
  taps.rows(Tap::embed_position, positions);
  taps.rows(Tap::embed, out);
  return out;
}

// ---- queries, keys and values ----

// The fused projection [T, (Hq + 2 Hkv) d]: with one key-value head all queries, key, value; otherwise head by head.
SubjectDecoder::Qkv SubjectDecoder::split(const Rows& z) const {
  const Index Hq = config().num_heads, Hkv = config().num_kv_heads, d = config().head_dim, T = z.rows();
  Qkv out{Rows({T, Hq * d}), Rows({T, Hkv * d}), Rows({T, Hkv * d})};
  const bool blocks = config().multi_query || planted().at(Mistake::fused_split_as_blocks);
  for (Index t = 0; t < T; ++t) {
    const float* from = z.row(t).data();
    if (blocks) {
      std::copy_n(from, Hq * d, out.q.row(t).data());
      std::copy_n(from + Hq * d, Hkv * d, out.k.row(t).data());
      std::copy_n(from + (Hq + Hkv) * d, Hkv * d, out.v.row(t).data());
      continue;
    }
    for (Index h = 0; h < Hq; ++h) {
      std::copy_n(from + 3 * h * d, d, out.q.row(t).data() + h * d);
      std::copy_n(from + (3 * h + 1) * d, d, out.k.row(t).data() + h * d);
      std::copy_n(from + (3 * h + 2) * d, d, out.v.row(t).data() + h * d);
    }
  }
  return out;
}

SubjectDecoder::Qkv SubjectDecoder::project(const LayerWeights& w, const Rows& u, const SubjectTaps& taps) const {
  if (!w.qkv.weight.empty()) {
    const Rows z = ops_.linear(u, w.qkv);
    taps.rows(Tap::qkv_proj, z);
    return split(z);
  }
  Qkv out{ops_.linear(u, w.q), ops_.linear(u, w.k), ops_.linear(u, w.v)};
  taps.rows(Tap::q_proj, out.q);
  taps.rows(Tap::k_proj, out.k);
  taps.rows(Tap::v_proj, out.v);
  return out;
}

void SubjectDecoder::clip(Qkv& x) const {
  if (!config().clip_qkv || planted().at(Mistake::clip_missing)) return;
  const auto limit = static_cast<float>(*config().clip_qkv);
  const float lowest = planted().at(Mistake::clip_upper_only) ? -INFINITY : -limit;
  for (Rows* rows : {&x.q, &x.k, &x.v}) {
    if (rows != &x.q && planted().at(Mistake::clip_queries_only)) continue;
    for (float& value : rows->values()) value = value > limit ? limit : value < lowest ? lowest : value;
  }
}

void SubjectDecoder::normalize_heads(const LayerWeights& w, Qkv& x, const SubjectTaps& taps) const {
  if (!config().qk_layernorm) return;
  const Index d = config().head_dim;
  if (!planted().at(Mistake::norm_of_heads_skipped)) {
    Norm q_norm = w.q_norm;
    Index width = d;
    if (planted().at(Mistake::norm_of_heads_over_all)) {
      for (std::vector<float>* values : {&q_norm.weight, &q_norm.bias}) {
        const std::vector<float> one = *values;
        while (static_cast<Index>(values->size()) < x.q.cols()) values->insert(values->end(), one.begin(), one.end());
      }
      width = x.q.cols();
    }
    x.q = ops_.norm(x.q, q_norm, width);
    x.k = ops_.norm(x.k, w.k_norm, d);
  }
  taps.heads(Tap::q_norm, x.q, config().num_heads);
  taps.heads(Tap::k_norm, x.k, config().num_kv_heads);
}

void SubjectDecoder::rotate(Rows& x, Index heads) const {
  if (!rope_.rotates()) return;
  for (Index t = 0; t < x.rows(); ++t) {
    for (Index h = 0; h < heads; ++h) {
      rope_.rotate(x.row(t).data() + h * config().head_dim, angles_[static_cast<std::size_t>(t)]);
    }
  }
  round_all(type(), x);
}

void SubjectDecoder::append(Index layer, const Rows& keys, const Rows& values) {
  const paging::ForwardPlan& plan = cache_->plan();
  const Index heads = config().num_kv_heads, d = config().head_dim;
  const bool reversed = heads > 1 && planted().at(Mistake::heads_of_kv_reversed);
  for (Index t = 0; t < keys.rows(); ++t) {
    const paging::PlannedRow& row = plan.rows[static_cast<std::size_t>(t)];
    const Index slot = plan.sequences[static_cast<std::size_t>(row.sequence)].layout.slot(row.entry);
    const bool no_value = t > 0 && t == keys.rows() - 1 && planted().at(Mistake::cache_last_value_unwritten);
    for (Index h = 0; h < heads; ++h) {
      const Index to = reversed ? heads - 1 - h : h;
      std::copy_n(keys.row(t).data() + h * d, d, cache_->at(layer, SubjectCache::kKey, slot, to));
      if (!no_value) std::copy_n(values.row(t).data() + h * d, d, cache_->at(layer, SubjectCache::kValue, slot, to));
      if (!planted().at(Mistake::cache_coarser)) continue;
      float* key = cache_->at(layer, SubjectCache::kKey, slot, to);
      for (Index i = 0; i < d; ++i) key[i] = with_fraction(key[i], 3);  // an 8-bit float
    }
  }
}

// What the cache holds for the rows of this call, [T, Hkv * d].
Rows SubjectDecoder::stored(Index layer, SubjectCache::Kind kind) const {
  const paging::ForwardPlan& plan = cache_->plan();
  const Index heads = config().num_kv_heads, d = config().head_dim;
  Rows out({static_cast<Index>(plan.rows.size()), heads * d});
  for (Index t = 0; t < out.rows(); ++t) {
    const paging::PlannedRow& row = plan.rows[static_cast<std::size_t>(t)];
    const Index slot = plan.sequences[static_cast<std::size_t>(row.sequence)].layout.slot(row.entry);
    for (Index h = 0; h < heads; ++h) std::copy_n(cache_->at(layer, kind, slot, h), d, out.row(t).data() + h * d);
  }
  return out;
}

// ---- the layer ----

Rows SubjectDecoder::attention(Index layer, const LayerWeights& w, const Rows& u, const SubjectTaps& taps) {
  Qkv x = project(w, u, taps);
  const bool clip_late = config().clip_qkv && planted().at(Mistake::clip_after_rotation);
  if (!clip_late) clip(x);
  normalize_heads(w, x, taps);
  const Rows plain = x.k;
  rotate(x.q, config().num_heads);
  if (!planted().at(Mistake::rope_not_on_keys)) rotate(x.k, config().num_kv_heads);
  if (rope_.rotates() && planted().at(Mistake::rope_on_values)) rotate(x.v, config().num_kv_heads);
  if (clip_late) clip(x);
  const bool keeps_angle = cache_->in_line() && planted().at(Mistake::window_keys_keep_angle);
  append(layer, cache_->in_line() && !keeps_angle ? plain : x.k, x.v);
  taps.heads(Tap::q, x.q, config().num_heads);
  taps.heads(Tap::k, stored(layer, SubjectCache::kKey), config().num_kv_heads);
  taps.heads(Tap::v, stored(layer, SubjectCache::kValue), config().num_kv_heads);
  const Attention::Result result = attention_.run(x.q, *cache_, layer);
  taps.probs(result.probs, config().num_heads);
  taps.rows(Tap::context, result.context);
  Rows out = ops_.linear(result.context, w.attn_out);
  taps.rows(Tap::attn_out, out);
  return out;
}

Rows SubjectDecoder::mlp(const LayerWeights& w, const Rows& u, const SubjectTaps& taps) const {
  const bool gated = config().gated_mlp();
  const Rows up = ops_.linear(u, w.up);
  const Rows gate = gated ? ops_.linear(u, w.gate) : Rows();
  const bool on_up = gated && planted().at(Mistake::act_on_up);
  const Rows act = ops_.activate(gated && !on_up ? gate : up);
  if (gated) taps.rows(Tap::gate, gate);
  taps.rows(Tap::up, up);
  taps.rows(Tap::act, act);
  const Rows hidden = gated ? ops_.multiply(act, on_up ? gate : up) : act;
  if (gated) taps.rows(Tap::mlp_hidden, hidden);
  Rows out = ops_.linear(hidden, w.down);
  taps.rows(Tap::mlp_out, out);
  return out;
}

// Phi: attention and MLP of the same norm, one sum.
Rows SubjectDecoder::parallel(Index index, const Rows& x, const Rows& u, const SubjectTaps& taps) {
  const LayerWeights& w = weights_.layers[static_cast<std::size_t>(index)];
  const Rows a = attention(index, w, u, taps);
  const bool sequential = planted().at(Mistake::parallel_made_sequential);
  const Rows m = mlp(w, sequential ? ops_.norm(ops_.add(x, a), w.attn_norm, x.cols()) : u, taps);
  return planted().at(Mistake::parallel_without_input) ? ops_.add(a, m) : ops_.add(x, a, m);
}

Rows SubjectDecoder::layer(Index index, const Rows& x, SubjectTaps& taps) {
  taps.set_layer(index);
  const LayerWeights& w = weights_.layers[static_cast<std::size_t>(index)];
  const Rows u = ops_.norm(x, w.attn_norm, x.cols());
  taps.rows(Tap::attn_norm, u);
  Rows out;
  if (config().architecture == Architecture::phi) {
    out = parallel(index, x, u, taps);
  } else {
    const Rows a = attention(index, w, u, taps);
    Rows middle = ops_.add(planted().at(Mistake::residual_of_normed) ? u : x, a);
    if (planted().at(Mistake::residual_dropped)) middle = a;
    taps.rows(Tap::attn_residual, middle);
    const Rows f = ops_.norm(middle, w.mlp_norm, x.cols());
    taps.rows(Tap::mlp_norm, f);
    const Rows m = mlp(w, f, taps);
    out = planted().at(Mistake::residual_twice) ? ops_.add(middle, m, x) : ops_.add(middle, m);
  }
  taps.rows(Tap::layer_out, out);
  return out;
}

Rows SubjectDecoder::final_norm(const Rows& x, SubjectTaps& taps) const {
  taps.set_layer(-1);
  Rows out = ops_.norm(x, weights_.final_norm, x.cols());
  taps.rows(Tap::final_norm, out);
  return out;
}

Rows SubjectDecoder::logits(const Rows& hidden, SubjectTaps& taps) const {
  taps.set_layer(-1);
  Rows out = ops_.linear(hidden, weights_.lm_head, DType::f32);
  if (!taps.any() && !weights_.lm_head.bias.empty() && planted().at(Mistake::head_bias_twice)) {
    for (Index i = 0; i < out.size(); ++i)
      out.data()[i] += weights_.lm_head.bias[static_cast<std::size_t>(i % out.cols())];
  }
  if (planted().at(Mistake::logits_bf16)) round_all(DType::bf16, out);
  if (planted().at(Mistake::logits_constant)) std::ranges::fill(out.values(), 0.25F);
  taps.rows(Tap::logits, DType::f32, out);
  return out;
}

}  // namespace mlbench::selftest
