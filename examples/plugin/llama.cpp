#include "llama.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numbers>

#include "request_error.h"

namespace example {
namespace {

std::size_t at(std::int64_t index) { return static_cast<std::size_t>(index); }

// To nearest, ties to even; weights are finite.
std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U);
}
float from_bf16(std::uint16_t value) { return std::bit_cast<float>(std::uint32_t{value} << 16U); }

// mlbench gives tensors in the type that a checkpoint has, at any alignment.
template <class T>
T read(const void* data, std::int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + index * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

float element(const mlbench_const_tensor& tensor, std::int64_t index) {
  switch (tensor.dtype) {
    case MLBENCH_F32: return read<float>(tensor.data, index);
    case MLBENCH_BF16: return from_bf16(read<std::uint16_t>(tensor.data, index));
    default: throw RequestError("config.unsupported", "weights are read as f32 and bf16 only");
  }
}

const mlbench_const_tensor& tensor_of(const mlbench_model& model, const std::string& name) {
  for (std::int64_t i = 0; i < model.num_weights; ++i) {
    if (name == model.weights[i].name) return model.weights[i].tensor;
  }
  throw RequestError("weights.missing", "no weight is called " + name);
}

}  // namespace

// ---- weights ----

Matrix::Matrix(const mlbench_const_tensor& tensor, std::int32_t stored)
    : rows_(tensor.rank == 1 ? 1 : tensor.shape[0]), cols_(tensor.shape[tensor.rank - 1]) {
  for (std::int64_t i = 0; i < rows_ * cols_; ++i) {
    const float value = element(tensor, i);
    if (stored == MLBENCH_BF16) {
      bf16_.push_back(to_bf16(value));
    } else {
      f32_.push_back(value);
    }
  }
}

float Matrix::at(std::int64_t row, std::int64_t col) const {
  const auto i = static_cast<std::size_t>(row * cols_ + col);
  return f32_.empty() ? from_bf16(bf16_[i]) : f32_[i];
}

Floats Matrix::times(const Floats& x) const {
  const std::int64_t n = static_cast<std::int64_t>(x.size()) / cols_;
  Floats y(static_cast<std::size_t>(n * rows_));
  Floats weight(static_cast<std::size_t>(cols_));
  for (std::int64_t r = 0; r < rows_; ++r) {
    for (std::int64_t c = 0; c < cols_; ++c) weight[static_cast<std::size_t>(c)] = at(r, c);
    for (std::int64_t i = 0; i < n; ++i) {
      float sum = 0.0F;
      const float* row = &x[static_cast<std::size_t>(i * cols_)];
      for (std::int64_t c = 0; c < cols_; ++c) sum += weight[static_cast<std::size_t>(c)] * row[c];
      y[static_cast<std::size_t>(i * rows_ + r)] = sum;
    }
  }
  return y;
}

Llama::Llama(const mlbench_model& model, std::int32_t stored) : config_(*model.config), rope_(*model.config->rope) {
  const auto matrix = [&](const std::string& name) { return Matrix(tensor_of(model, name), stored); };
  const auto vector = [&](const std::string& name) {
    const Matrix row = matrix(name);
    Floats out;
    for (std::int64_t c = 0; c < config_.hidden_size; ++c) out.push_back(row.at(0, c));
    return out;
  };
  embedding_ = matrix("model.embed_tokens.weight");
  output_ = matrix("lm_head.weight");
  norm_ = vector("model.norm.weight");
  for (std::int64_t l = 0; l < config_.num_layers; ++l) {
    const std::string prefix = "model.layers." + std::to_string(l) + ".";
    layers_.push_back({vector(prefix + "input_layernorm.weight"), vector(prefix + "post_attention_layernorm.weight"),
                       matrix(prefix + "self_attn.q_proj.weight"), matrix(prefix + "self_attn.k_proj.weight"),
                       matrix(prefix + "self_attn.v_proj.weight"), matrix(prefix + "self_attn.o_proj.weight"),
                       matrix(prefix + "mlp.gate_proj.weight"), matrix(prefix + "mlp.up_proj.weight"),
                       matrix(prefix + "mlp.down_proj.weight")});
  }
}

// ---- taps ----

bool Taps::wants(mlbench_tap tap) const { return sink_ != nullptr && sink_->wants(sink_->context, tap, layer_) != 0; }

void Taps::give(mlbench_tap tap, const Floats& x, std::initializer_list<std::int64_t> shape) const {
  if (!wants(tap)) return;
  mlbench_const_tensor value{MLBENCH_F32, static_cast<std::int32_t>(shape.size()), {}, x.data()};
  std::copy(shape.begin(), shape.end(), value.shape);
  sink_->take(sink_->context, tap, layer_, &value);
}

void Taps::rows(mlbench_tap tap, const Floats& x, std::int64_t width) const {
  give(tap, x, {static_cast<std::int64_t>(x.size()) / width, width});
}

void Taps::heads(mlbench_tap tap, const Floats& x, std::int64_t heads, std::int64_t d) const {
  if (!wants(tap)) return;
  const std::int64_t n = static_cast<std::int64_t>(x.size()) / (heads * d);
  Floats out;
  for (std::int64_t head = 0; head < heads; ++head) {
    for (std::int64_t i = 0; i < n; ++i) {
      const auto from = x.begin() + (i * heads + head) * d;
      out.insert(out.end(), from, from + d);
    }
  }
  give(tap, out, {heads, n, d});
}

// ---- operators ----

Floats Llama::normalized(const Floats& x, const Floats& weight) const {
  const std::int64_t h = config_.hidden_size;
  Floats y(x.size());
  for (std::size_t first = 0; first < x.size(); first += at(h)) {
    float squares = 0.0F;
    for (std::size_t i = 0; i < at(h); ++i) squares += x[first + i] * x[first + i];
    const float scale = 1.0F / std::sqrt(squares / static_cast<float>(h) + static_cast<float>(config_.norm_eps));
    for (std::size_t i = 0; i < at(h); ++i) y[first + i] = weight[i] * (x[first + i] * scale);
  }
  return y;
}

// w_i = theta^(-2i/d); Llama 3.1 divides those that turn seldom within the trained length by a factor.
std::vector<double> Llama::frequencies() const {
  std::vector<double> out;
  for (std::int64_t i = 0; i < rope_.rotary_dim / 2; ++i) {
    double w = std::pow(rope_.theta, -2.0 * static_cast<double>(i) / static_cast<double>(rope_.rotary_dim));
    if (rope_.kind == MLBENCH_ROPE_LLAMA3) {
      const double turns = static_cast<double>(rope_.original_max_positions) * w / (2.0 * std::numbers::pi);
      const double low = rope_.low_freq_factor, high = rope_.high_freq_factor;
      const double share = std::clamp((turns - low) / (high - low), 0.0, 1.0);
      w = (1.0 - share) * w / rope_.factor + share * w;
    }
    out.push_back(w);
  }
  return out;
}

// The pairs are (i, i + d/2); with the bug, (2i, 2i + 1), which is the order of other engines' weights.
void Llama::rotate(Floats& x, std::int64_t heads, const std::vector<Row>& rows) const {
  const std::int64_t d = config_.head_dim, half = d / 2;
  const std::vector<double> w = frequencies();
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(rows[r].position) * w[at(i)];
      const auto c = static_cast<float>(std::cos(angle)), s = static_cast<float>(std::sin(angle));
      for (std::int64_t head = 0; head < heads; ++head) {
        float* values = &x[(r * at(heads) + at(head)) * at(d)];
#ifdef MLBENCH_EXAMPLE_BUG
        float &low = values[2 * i], &high = values[2 * i + 1];
#else
        float &low = values[i], &high = values[i + half];
#endif
        const float a = low, b = high;
        low = a * c - b * s;
        high = b * c + a * s;
      }
    }
  }
}

// softmax(q k / sqrt(d)) v of each row and head over what the row sees; [N, Hq * d].
Floats Llama::attention(std::int64_t index, const Floats& q, const std::vector<Row>& rows, const Taps& taps) const {
  const std::int64_t heads = config_.num_heads, d = config_.head_dim, group = heads / config_.num_kv_heads;
  const std::int64_t width = config_.num_kv_heads * d, n = static_cast<std::int64_t>(rows.size());
  const float scale = 1.0F / std::sqrt(static_cast<float>(d));
  std::int64_t longest = 0;
  for (const Row& row : rows) longest = std::max(longest, row.sequence->length);
  Floats context(q.size()), probs(taps.wants(MLBENCH_TAP_PROBS) ? at(heads * n * longest) : 0);
  for (std::int64_t r = 0; r < n; ++r) {
    const Row& row = rows[at(r)];
    std::vector<std::int64_t> seen(at(row.prefix));
    for (std::int64_t j = 0; j < row.prefix; ++j) seen[at(j)] = j;
    seen.insert(seen.end(), row.path.begin(), row.path.end());
    const float* keys = row.sequence->keys[at(index)].data();
    const float* values = row.sequence->values[at(index)].data();
    for (std::int64_t head = 0; head < heads; ++head) {
      const float* query = &q[at((r * heads + head) * d)];
      const std::int64_t offset = head / group * d;
      Floats p;
      for (const std::int64_t entry : seen) {
        float dot = 0.0F;
        for (std::int64_t i = 0; i < d; ++i) dot += query[i] * keys[entry * width + offset + i];
        p.push_back(dot * scale);
      }
      const float most = *std::max_element(p.begin(), p.end());
      float sum = 0.0F;
      for (float& value : p) sum += value = std::exp(value - most);
      float* out = &context[at((r * heads + head) * d)];
      for (std::size_t j = 0; j < seen.size(); ++j) {
        p[j] /= sum;
        for (std::int64_t i = 0; i < d; ++i) out[i] += p[j] * values[seen[j] * width + offset + i];
        if (!probs.empty()) probs[at((head * n + r) * longest + seen[j])] = p[j];
      }
    }
  }
  taps.give(MLBENCH_TAP_PROBS, probs, {heads, n, longest});
  return context;
}

// ---- parts of the stack ----

Floats Llama::embed(const std::int32_t* ids, std::int64_t count) const {
  Floats out;
  for (std::int64_t i = 0; i < count; ++i) {
    if (ids[i] < 0 || ids[i] >= embedding_.rows())
      throw RequestError("input.token_range", "token id " + std::to_string(ids[i]) + " is not in the vocabulary");
    for (std::int64_t c = 0; c < config_.hidden_size; ++c) out.push_back(embedding_.at(ids[i], c));
  }
  return out;
}

Floats Llama::enter(Floats x, const Cache& cache, const mlbench_tap_sink* sink) const {
  const Taps taps(sink);
  taps.rows(MLBENCH_TAP_EMBED, x, config_.hidden_size);
  const std::vector<double> w = frequencies();
  Floats cosines, sines;  // [N, d], halves repeated
  for (const Row& row : cache.rows()) {
    for (std::int64_t i = 0; i < rope_.rotary_dim; ++i) {
      const double angle = static_cast<double>(row.position) * w[at(i) % w.size()];
      cosines.push_back(static_cast<float>(std::cos(angle)));
      sines.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  taps.rows(MLBENCH_TAP_ROPE_COS, cosines, rope_.rotary_dim);
  taps.rows(MLBENCH_TAP_ROPE_SIN, sines, rope_.rotary_dim);
  return x;
}

Floats Llama::layer(std::int64_t index, Floats x, const Cache& cache, const mlbench_tap_sink* sink) const {
  const Layer& w = layers_[at(index)];
  const Taps taps(sink, index);
  const std::vector<Row>& rows = cache.rows();
  const std::int64_t h = config_.hidden_size, d = config_.head_dim, kv_width = config_.num_kv_heads * d;

  const Floats u = normalized(x, w.attn_norm);
  taps.rows(MLBENCH_TAP_ATTN_NORM, u, h);
  Floats q = w.q.times(u), k = w.k.times(u);
  const Floats v = w.v.times(u);
  taps.rows(MLBENCH_TAP_Q_PROJ, q, config_.num_heads * d);
  taps.rows(MLBENCH_TAP_K_PROJ, k, kv_width);
  taps.rows(MLBENCH_TAP_V_PROJ, v, kv_width);
  rotate(q, config_.num_heads, rows);
  rotate(k, config_.num_kv_heads, rows);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const std::size_t to = at(rows[r].entry * kv_width), from = r * at(kv_width);
    std::copy_n(&k[from], kv_width, &rows[r].sequence->keys[at(index)][to]);
    std::copy_n(&v[from], kv_width, &rows[r].sequence->values[at(index)][to]);
  }
  taps.heads(MLBENCH_TAP_Q, q, config_.num_heads, d);
  taps.heads(MLBENCH_TAP_K, k, config_.num_kv_heads, d);
  taps.heads(MLBENCH_TAP_V, v, config_.num_kv_heads, d);
  const Floats context = attention(index, q, rows, taps);
  taps.rows(MLBENCH_TAP_CONTEXT, context, config_.num_heads * d);
  const Floats attended = w.o.times(context);
  taps.rows(MLBENCH_TAP_ATTN_OUT, attended, h);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += attended[i];
  taps.rows(MLBENCH_TAP_ATTN_RESIDUAL, x, h);

  const Floats m = normalized(x, w.mlp_norm);
  taps.rows(MLBENCH_TAP_MLP_NORM, m, h);
  Floats hidden = w.gate.times(m);
  taps.rows(MLBENCH_TAP_GATE, hidden, config_.intermediate_size);
  for (float& value : hidden) value = value / (1.0F + std::exp(-value));
  taps.rows(MLBENCH_TAP_ACT, hidden, config_.intermediate_size);
  const Floats up = w.up.times(m);
  taps.rows(MLBENCH_TAP_UP, up, config_.intermediate_size);
  for (std::size_t i = 0; i < hidden.size(); ++i) hidden[i] *= up[i];
  taps.rows(MLBENCH_TAP_MLP_HIDDEN, hidden, config_.intermediate_size);
  const Floats out = w.down.times(hidden);
  taps.rows(MLBENCH_TAP_MLP_OUT, out, h);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += out[i];
  taps.rows(MLBENCH_TAP_LAYER_OUT, x, h);
  return x;
}

Floats Llama::final_norm(const Floats& x, const mlbench_tap_sink* sink) const {
  Floats out = normalized(x, norm_);
  Taps(sink).rows(MLBENCH_TAP_FINAL_NORM, out, config_.hidden_size);
  return out;
}

Floats Llama::logits(const Floats& hidden, const mlbench_tap_sink* sink) const {
  Floats out = output_.times(hidden);
  Taps(sink).rows(MLBENCH_TAP_LOGITS, out, config_.vocab_size);
  return out;
}

}  // namespace example
