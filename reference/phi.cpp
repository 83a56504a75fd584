// Phi (1, 1.5, 2) in float64, to be read beside Gunasekar et al., arXiv:2306.11644, and Li et al., arXiv:2309.05463. A
// parallel block: one norm per layer feeds attention and MLP, and both are added to the residual stream at once.
// Rotation of the first D values of each head, biases everywhere, the output layer included. T rows of this call, h
// hidden, Hq / Hkv query / key-value heads of size d, I MLP size, V vocabulary. Weights are [out, in]: linear(x, W) = x
// W^T + b.
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "reference/decoder.h"

namespace mlbench::ref {
namespace {

struct Layer {
  Norm input_layernorm;           // [h]
  Linear q_proj, k_proj, v_proj;  // [Hq*d, h], [Hkv*d, h], [Hkv*d, h]
  Norm q_layernorm, k_layernorm;  // [d]; only with qk_layernorm
  Linear dense;                   // [h, Hq*d]
  Linear fc1;                     // [I, h]
  Linear fc2;                     // [h, I]
};

class Phi final : public Decoder {
 public:
  Phi(const Model& model, Ops ops, RopeCompat compat) : config_(model.config), ops_(ops), rope_(config_.rope, compat) {
    const Weights& w = *model.weights;
    embed_tokens_ = w.get("model.embed_tokens.weight");
    final_layernorm_ = bind_norm(w, "model.final_layernorm", true);
    lm_head_ = bind_linear(w, "lm_head", true);
    for (Index n = 0; n < config_.num_layers; ++n) {
      const std::string layer = fmt::format("model.layers.{}.", n);
      const auto linear = [&](const char* module) { return bind_linear(w, layer + module, true); };
      const auto head_norm = [&](const char* module) {
        return config_.qk_layernorm ? bind_norm(w, layer + module, true) : Norm{};
      };
      layers_.push_back({
          .input_layernorm = bind_norm(w, layer + "input_layernorm", true),
          .q_proj = linear("self_attn.q_proj"),
          .k_proj = linear("self_attn.k_proj"),
          .v_proj = linear("self_attn.v_proj"),
          .q_layernorm = head_norm("self_attn.q_layernorm"),
          .k_layernorm = head_norm("self_attn.k_layernorm"),
          .dense = linear("self_attn.dense"),
          .fc1 = linear("mlp.fc1"),
          .fc2 = linear("mlp.fc2"),
      });
    }
  }

  [[nodiscard]] const Rope* rope() const override { return &rope_; }

  [[nodiscard]] Tensor embed(std::span<const std::int32_t> ids) const override {
    return gather_embedding(embed_tokens_, ids);  // [n, h]
  }

  [[nodiscard]] Tensor enter(const Tensor& x, const ForwardPass&, const Taps&) const override { return x; }

  [[nodiscard]] Tensor layer(Index index, const Tensor& x, ForwardPass& pass, const Taps& tap) const override {
    const Layer& w = layers_[static_cast<std::size_t>(index)];
    const Tensor u = tap(Tap::attn_norm, ops_.layer_norm(x, w.input_layernorm, config_.norm_eps));  // [T, h]
    const Tensor a = attention(index, w, u, pass, tap);                                             // [T, h]
    const Tensor m = mlp(w, u, tap);                                                                // [T, h]
    return tap(Tap::layer_out, ops_.add(ops_.add(x, a), m));                                        // [T, h]
  }

  [[nodiscard]] Tensor final_norm(const Tensor& x, const Taps& tap) const override {
    return tap(Tap::final_norm, ops_.layer_norm(x, final_layernorm_, config_.norm_eps));  // [n, h]
  }

  [[nodiscard]] Tensor logits(const Tensor& hidden, const Taps& tap) const override {
    return tap(Tap::logits, ops_.linear(hidden, lm_head_));  // [n, V]
  }

 private:
  // LayerNorm over the d values of each head, before rotation.
  [[nodiscard]] Tensor head_norm(const Tensor& x, const Norm& norm, Tap as, const Taps& tap) const {
    return config_.qk_layernorm ? tap.heads(as, ops_.layer_norm(x, norm, config_.norm_eps)) : x;
  }

  [[nodiscard]] Tensor attention(Index index, const Layer& w, const Tensor& u, ForwardPass& pass,
                                 const Taps& tap) const {
    const Index T = pass.rows(), Hq = config_.num_heads, Hkv = config_.num_kv_heads, d = config_.head_dim;
    const Tensor q_all = tap(Tap::q_proj, ops_.linear(u, w.q_proj)).reshaped({T, Hq, d});
    const Tensor k_all = tap(Tap::k_proj, ops_.linear(u, w.k_proj)).reshaped({T, Hkv, d});
    const Tensor q0 = head_norm(q_all, w.q_layernorm, Tap::q_norm, tap);
    const Tensor k0 = head_norm(k_all, w.k_layernorm, Tap::k_norm, tap);
    const Tensor q = tap.heads(Tap::q, pass.rotated(q0));
    const Tensor k = tap.heads(Tap::k, pass.key_to_store(k0));
    const Tensor v = tap.heads(Tap::v, tap(Tap::v_proj, ops_.linear(u, w.v_proj)).reshaped({T, Hkv, d}));
    pass.append(index, k, v);
    const double alpha = 1.0 / std::sqrt(static_cast<double>(d));
    const Tensor o = tap(Tap::context, pass.attention(index, q, alpha, tap));  // [T, Hq*d]
    return tap(Tap::attn_out, ops_.linear(o, w.dense));                        // [T, h]
  }

  [[nodiscard]] Tensor mlp(const Layer& w, const Tensor& u, const Taps& tap) const {
    const Tensor up = tap(Tap::up, ops_.linear(u, w.fc1));                    // [T, I]
    const Tensor act = tap(Tap::act, ops_.activate(up, config_.activation));  // [T, I]
    return tap(Tap::mlp_out, ops_.linear(act, w.fc2));                        // [T, h]
  }

  ModelConfig config_;
  Ops ops_;
  Rope rope_;
  WeightView embed_tokens_;  // [V, h]
  std::vector<Layer> layers_;
  Norm final_layernorm_;  // [h]
  Linear lm_head_;        // [V, h], with bias
};

}  // namespace

std::unique_ptr<Decoder> make_phi(const Model& model, Ops ops, RopeCompat compat) {
  return std::make_unique<Phi>(model, ops, compat);
}

}  // namespace mlbench::ref
