// OLMo (version 1) in float64, to be read beside Groeneveld et al., arXiv:2402.00838. LayerNorm without weight and bias
// and with a fixed epsilon, rotary positions, a gated MLP, and in some models queries, keys and values clipped to
// +-clip_qkv. T rows of this call, h hidden, Hq / Hkv query / key-value heads of size d, I MLP size, V vocabulary.
// Weights are [out, in]: linear(x, W) = x W^T + b.
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "reference/decoder.h"

namespace mlbench::ref {
namespace {

struct Layer {
  Linear q_proj, k_proj, v_proj;  // [Hq*d, h], [Hkv*d, h], [Hkv*d, h]
  Linear o_proj;                  // [h, Hq*d]
  Linear gate_proj, up_proj;      // [I, h]
  Linear down_proj;               // [h, I]
};

class Olmo final : public Decoder {
 public:
  Olmo(const Model& model, Ops ops, RopeCompat compat) : config_(model.config), ops_(ops), rope_(config_.rope, compat) {
    const Weights& w = *model.weights;
    embed_tokens_ = w.get("model.embed_tokens.weight");
    lm_head_ = bind_linear(w, "lm_head", false);
    for (Index n = 0; n < config_.num_layers; ++n) {
      const std::string layer = fmt::format("model.layers.{}.", n);
      const auto linear = [&](const char* module, bool bias) { return bind_linear(w, layer + module, bias); };
      layers_.push_back({
          .q_proj = linear("self_attn.q_proj", config_.attention_bias),
          .k_proj = linear("self_attn.k_proj", config_.attention_bias),
          .v_proj = linear("self_attn.v_proj", config_.attention_bias),
          .o_proj = linear("self_attn.o_proj", config_.attention_bias),
          .gate_proj = linear("mlp.gate_proj", false),
          .up_proj = linear("mlp.up_proj", false),
          .down_proj = linear("mlp.down_proj", false),
      });
    }
  }

  [[nodiscard]] const Rope* rope() const override { return &rope_; }

  [[nodiscard]] Tensor embed(std::span<const std::int32_t> ids) const override {
    return gather_embedding(embed_tokens_, ids);  // [n, h]
  }

  [[nodiscard]] Tensor enter(const Tensor& x, const ForwardPass&, const Taps&) const override { return x; }

  [[nodiscard]] Tensor layer(Index index, const Tensor& x0, ForwardPass& pass, const Taps& tap) const override {
    const Layer& w = layers_[static_cast<std::size_t>(index)];
    const Tensor u = tap(Tap::attn_norm, ops_.layer_norm(x0, kPlain, config_.norm_eps));        // [T, h]
    const Tensor x = tap(Tap::attn_residual, ops_.add(x0, attention(index, w, u, pass, tap)));  // [T, h]
    const Tensor f = tap(Tap::mlp_norm, ops_.layer_norm(x, kPlain, config_.norm_eps));          // [T, h]
    return tap(Tap::layer_out, ops_.add(x, mlp(w, f, tap)));                                    // [T, h]
  }

  [[nodiscard]] Tensor final_norm(const Tensor& x, const Taps& tap) const override {
    return tap(Tap::final_norm, ops_.layer_norm(x, kPlain, config_.norm_eps));  // [n, h]
  }

  [[nodiscard]] Tensor logits(const Tensor& hidden, const Taps& tap) const override {
    return tap(Tap::logits, ops_.linear(hidden, lm_head_));  // [n, V]
  }

 private:
  inline static const Norm kPlain;  // neither weight nor bias

  [[nodiscard]] Tensor clip(const Tensor& x) const { return config_.clip_qkv ? ops_.clamp(x, *config_.clip_qkv) : x; }

  [[nodiscard]] Tensor attention(Index index, const Layer& w, const Tensor& u, ForwardPass& pass,
                                 const Taps& tap) const {
    const Index T = pass.rows(), Hq = config_.num_heads, Hkv = config_.num_kv_heads, d = config_.head_dim;
    // Clipping comes before rotation and before the cache.
    const Tensor q0 = clip(tap(Tap::q_proj, ops_.linear(u, w.q_proj))).reshaped({T, Hq, d});
    const Tensor k0 = clip(tap(Tap::k_proj, ops_.linear(u, w.k_proj))).reshaped({T, Hkv, d});
    const Tensor q = tap.heads(Tap::q, pass.rotated(q0));
    const Tensor k = tap.heads(Tap::k, pass.key_to_store(k0));
    const Tensor v = tap.heads(Tap::v, clip(tap(Tap::v_proj, ops_.linear(u, w.v_proj))).reshaped({T, Hkv, d}));
    pass.append(index, k, v);
    const double alpha = 1.0 / std::sqrt(static_cast<double>(d));
    const Tensor o = tap(Tap::context, pass.attention(index, q, alpha, tap));  // [T, Hq*d]
    return tap(Tap::attn_out, ops_.linear(o, w.o_proj));                       // [T, h]
  }

  // Gated: (act(f Wgate^T) * (f Wup^T)) Wdown^T.
  [[nodiscard]] Tensor mlp(const Layer& w, const Tensor& f, const Taps& tap) const {
    const Tensor gate = tap(Tap::gate, ops_.linear(f, w.gate_proj));            // [T, I]
    const Tensor up = tap(Tap::up, ops_.linear(f, w.up_proj));                  // [T, I]
    const Tensor act = tap(Tap::act, ops_.activate(gate, config_.activation));  // [T, I]
    const Tensor hidden = tap(Tap::mlp_hidden, ops_.multiply(act, up));         // [T, I]
    return tap(Tap::mlp_out, ops_.linear(hidden, w.down_proj));                 // [T, h]
  }

  ModelConfig config_;
  Ops ops_;
  Rope rope_;
  WeightView embed_tokens_;  // [V, h]
  std::vector<Layer> layers_;
  Linear lm_head_;  // [V, h]
};

}  // namespace

std::unique_ptr<Decoder> make_olmo(const Model& model, Ops ops, RopeCompat compat) {
  return std::make_unique<Olmo>(model, ops, compat);
}

}  // namespace mlbench::ref
