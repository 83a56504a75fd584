// A worker's session in which a mistake is to be made: passes on what there is none in.
#pragma once

#include <memory>

#include "backends/backend.h"

namespace mlbench::selftest {

class PassingSession : public backends::Session {
 public:
  explicit PassingSession(std::unique_ptr<backends::Session> session) : session_(std::move(session)) {}

  [[nodiscard]] backends::Arithmetic arithmetic() const override { return session_->arithmetic(); }
  [[nodiscard]] backends::Support gives(Tap tap) const override { return session_->gives(tap); }
  [[nodiscard]] backends::Support isolates_layers() const override { return session_->isolates_layers(); }
  [[nodiscard]] std::unique_ptr<backends::KvCache> create_paged_kv_cache(const KvLimits& limits) override {
    return session_->create_paged_kv_cache(limits);
  }
  void embed(std::span<const std::int32_t> ids, const TensorView& out) override { session_->embed(ids, out); }
  void get_logits(const ConstTensorView& hidden, const TensorView& out) override { session_->get_logits(hidden, out); }
  void batch_select_last_hidden_states(const ConstTensorView& hidden, std::span<const std::int32_t> positions,
                                       const TensorView& out) override {
    session_->batch_select_last_hidden_states(hidden, positions, out);
  }
  void run_part(const backends::Part& part, const ConstTensorView& x, backends::KvCache& cache, const TensorView& out,
                backends::TapSink* taps) override {
    session_->run_part(part, x, cache, out, taps);
  }

 protected:
  [[nodiscard]] backends::Session& session() { return *session_; }

 private:
  std::unique_ptr<backends::Session> session_;
};

}  // namespace mlbench::selftest
