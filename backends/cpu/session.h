// A model loaded for the CPU.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "backends/cpu/decoder.h"

namespace mlbench::cpu {

// What a session of this type computes with.
[[nodiscard]] backends::Arithmetic arithmetic_of(DType dtype);

class Session final : public backends::Session {
 public:
  Session(const Model& model, DType dtype, int threads);

  [[nodiscard]] backends::Arithmetic arithmetic() const override { return arithmetic_of(dtype_); }
  [[nodiscard]] backends::Support gives(Tap tap) const override;
  [[nodiscard]] backends::Support isolates_layers() const override { return {}; }
  [[nodiscard]] std::unique_ptr<backends::KvCache> create_paged_kv_cache(const KvLimits& limits) override;

  void embed(std::span<const std::int32_t> ids, const TensorView& out) override;
  void get_logits(const ConstTensorView& hidden, const TensorView& out) override;
  void batch_select_last_hidden_states(const ConstTensorView& hidden, std::span<const std::int32_t> positions,
                                       const TensorView& out) override;
  void forward(backends::Method method, const ConstTensorView& x, std::span<const std::int32_t> logit_positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override;
  void run_part(const backends::Part& part, const ConstTensorView& x, backends::KvCache& cache, const TensorView& out,
                backends::TapSink* taps) override;

 private:
  [[nodiscard]] const ModelConfig& config() const { return decoder_.config(); }
  [[nodiscard]] KvShape kv_shape() const;
  // The cache as one of this session's; else kv.state.
  [[nodiscard]] PagedKvCache& own(backends::KvCache& cache) const;
  void require_result(backends::Method method, const ConstTensorView& x, Index positions, const TensorView& out) const;
  // Rows of the input in memory of the session, which the parts then change.
  float* take(const ConstTensorView& x, Index rows);
  void write_logits(const float* hidden, Index rows, const TensorView& out, Taps& taps);

  DType dtype_;
  Decoder decoder_;
  Buffer x_, chosen_, logits_;
};

}  // namespace mlbench::cpu
