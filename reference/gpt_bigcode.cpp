// GPT BigCode (SantaCoder, StarCoder, Granite code) in float64, to be read beside Ben Allal et al., arXiv:2301.03988,
// and Li et al., arXiv:2305.06161. GPT-2's block with learned positions and, with multi_query (Shazeer,
// arXiv:1911.02150), one key-value head. T rows of this call, h hidden, Hq / Hkv query / key-value heads of size d = h
// / Hq, I MLP size, V vocabulary. Weights are [out, in], unlike GPT-2's: linear(x, W) = x W^T + b.
#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "reference/decoder.h"

namespace mlbench::ref {
namespace {

struct Layer {
  Norm ln_1, ln_2;  // [h]
  Linear c_attn;    // [(Hq + 2 Hkv) d, h]
  Linear c_proj;    // [h, h], of the attention
  Linear c_fc;      // [I, h]
  Linear mlp_proj;  // [h, I]: mlp.c_proj
};

struct Heads {
  Tensor q, k, v;  // [T, Hq, d], [T, Hkv, d], [T, Hkv, d]
};

class GptBigCode final : public Decoder {
 public:
  GptBigCode(const Model& model, Ops ops) : config_(model.config), ops_(ops) {
    const Weights& w = *model.weights;
    wte_ = w.get("transformer.wte.weight");
    wpe_ = w.get("transformer.wpe.weight");
    ln_f_ = bind_norm(w, "transformer.ln_f", true);
    lm_head_ = bind_linear(w, "lm_head", false);
    for (Index n = 0; n < config_.num_layers; ++n) {
      const std::string layer = fmt::format("transformer.h.{}.", n);
      const auto linear = [&](const char* module) { return bind_linear(w, layer + module, true); };
      layers_.push_back({
          .ln_1 = bind_norm(w, layer + "ln_1", true),
          .ln_2 = bind_norm(w, layer + "ln_2", true),
          .c_attn = linear("attn.c_attn"),
          .c_proj = linear("attn.c_proj"),
          .c_fc = linear("mlp.c_fc"),
          .mlp_proj = linear("mlp.c_proj"),
      });
    }
  }

  [[nodiscard]] const Rope* rope() const override { return nullptr; }

  [[nodiscard]] Tensor embed(std::span<const std::int32_t> ids) const override {
    return gather_embedding(wte_, ids);  // [n, h]
  }

  [[nodiscard]] Tensor enter(const Tensor& x, const ForwardPass& pass, const Taps& tap) const override {
    Tensor position({pass.rows(), config_.hidden_size});
    for (Index t = 0; t < pass.rows(); ++t) {
      const Index p = pass.position(t);
      if (p >= config_.num_positions) {
        throw request_error(
            "input.position_range",
            fmt::format("row {} is at position {}: the position embedding has {} rows", t, p, config_.num_positions));
      }
      wpe_.widen_row(p, position.row(t));
    }
    return ops_.add(tap(Tap::embed_token, x), tap(Tap::embed_position, std::move(position)));  // [T, h]
  }

  [[nodiscard]] Tensor layer(Index index, const Tensor& x0, ForwardPass& pass, const Taps& tap) const override {
    const Layer& w = layers_[static_cast<std::size_t>(index)];
    const Tensor u = tap(Tap::attn_norm, ops_.layer_norm(x0, w.ln_1, config_.norm_eps));        // [T, h]
    const Tensor x = tap(Tap::attn_residual, ops_.add(x0, attention(index, w, u, pass, tap)));  // [T, h]
    const Tensor f = tap(Tap::mlp_norm, ops_.layer_norm(x, w.ln_2, config_.norm_eps));          // [T, h]
    return tap(Tap::layer_out, ops_.add(x, mlp(w, f, tap)));                                    // [T, h]
  }

  [[nodiscard]] Tensor final_norm(const Tensor& x, const Taps& tap) const override {
    return tap(Tap::final_norm, ops_.layer_norm(x, ln_f_, config_.norm_eps));  // [n, h]
  }

  [[nodiscard]] Tensor logits(const Tensor& hidden, const Taps& tap) const override {
    return tap(Tap::logits, ops_.linear(hidden, lm_head_));  // [n, V]
  }

 private:
  // The rows of c_attn: with multi_query all queries, one key, one value; otherwise query, key and value of head 0,
  // then those of head 1, and so on.
  [[nodiscard]] Heads split(const Tensor& z) const {
    const Index T = z.rows(), Hq = config_.num_heads, Hkv = config_.num_kv_heads, d = config_.head_dim;
    Heads out{Tensor({T, Hq, d}), Tensor({T, Hkv, d}), Tensor({T, Hkv, d})};
    const auto copy = [&](Index t, Index from, Tensor& to, Index head) {
      std::ranges::copy(z.row(t).subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(d)),
                        to.row(t * to.dim(1) + head).begin());
    };
    for (Index t = 0; t < T; ++t) {
      if (config_.multi_query) {
        for (Index j = 0; j < Hq; ++j) copy(t, j * d, out.q, j);
        copy(t, Hq * d, out.k, 0);
        copy(t, Hq * d + d, out.v, 0);
        continue;
      }
      for (Index j = 0; j < Hq; ++j) {
        copy(t, 3 * j * d, out.q, j);
        copy(t, (3 * j + 1) * d, out.k, j);
        copy(t, (3 * j + 2) * d, out.v, j);
      }
    }
    return out;
  }

  [[nodiscard]] Tensor attention(Index index, const Layer& w, const Tensor& u, ForwardPass& pass,
                                 const Taps& tap) const {
    Heads z = split(tap(Tap::qkv_proj, ops_.linear(u, w.c_attn)));
    const Tensor q = tap.heads(Tap::q, std::move(z.q));
    const Tensor k = tap.heads(Tap::k, std::move(z.k));
    const Tensor v = tap.heads(Tap::v, std::move(z.v));
    pass.append(index, k, v);
    const double alpha = config_.scale_attn_weights ? 1.0 / std::sqrt(static_cast<double>(config_.head_dim)) : 1.0;
    const Tensor o = tap(Tap::context, pass.attention(index, q, alpha, tap));  // [T, h]
    return tap(Tap::attn_out, ops_.linear(o, w.c_proj));                       // [T, h]
  }

  [[nodiscard]] Tensor mlp(const Layer& w, const Tensor& f, const Taps& tap) const {
    const Tensor up = tap(Tap::up, ops_.linear(f, w.c_fc));                   // [T, I]
    const Tensor act = tap(Tap::act, ops_.activate(up, config_.activation));  // [T, I]
    return tap(Tap::mlp_out, ops_.linear(act, w.mlp_proj));                   // [T, h]
  }

  ModelConfig config_;
  Ops ops_;
  WeightView wte_;  // [V, h]
  WeightView wpe_;  // [positions, h]
  std::vector<Layer> layers_;
  Norm ln_f_;       // [h]
  Linear lm_head_;  // [V, h]
};

}  // namespace

std::unique_ptr<Decoder> make_gpt_bigcode(const Model& model, Ops ops) {
  return std::make_unique<GptBigCode>(model, ops);
}

}  // namespace mlbench::ref
