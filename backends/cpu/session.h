// A model loaded for the CPU.
#pragma once

#include <memory>

#include "backends/cpu/decoder.h"
#include "backends/stack/session.h"

namespace mlbench::cpu {

// What a session of this type computes with.
[[nodiscard]] backends::Arithmetic arithmetic_of(DType dtype);

class Session final : public stack::Session {
 public:
  Session(const Model& model, const backends::RunConfig& run, int threads);

  [[nodiscard]] backends::Arithmetic arithmetic() const override { return arithmetic_; }

 private:
  [[nodiscard]] std::unique_ptr<stack::PagedCache> make_cache(const KvLimits& limits) override;
  void embed_rows(std::span<const std::int32_t> ids, std::byte* out) override;
  void begin(stack::PagedCache& cache) override;
  void set_rows(const std::byte* x, Index count) override;
  void get_rows(std::byte* out, Index count) override;
  void enter(backends::TapSink* taps) override;
  void layer(Index index, backends::TapSink* taps) override;
  void final_norm(backends::TapSink* taps) override;
  void write_logits(const stack::RowChoice& rows, std::byte* out, backends::TapSink* taps) override;

  backends::Arithmetic arithmetic_;
  Decoder decoder_;
  Buffer x_, chosen_, logits_;
  float* rows_ = nullptr;  // in x_
};

}  // namespace mlbench::cpu
