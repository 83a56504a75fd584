// A session of a backend of ours: every check of the interface, and which rows a method takes and gives. What computes
// them, where, and in which memory, is the backend's. Hidden rows at the interface are float32.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backends/backend.h"
#include "backends/stack/paged_cache.h"

namespace mlbench::stack {

// Rows of those that a session holds: `chosen`, or where there are none of them `count` from `first` on.
struct RowChoice {
  Index first = 0, count = 0;
  std::span<const std::int32_t> chosen;
};

class Session : public backends::Session {
 public:
  [[nodiscard]] backends::Support gives(Tap tap) const override;
  [[nodiscard]] backends::Support isolates_layers() const override { return {}; }
  [[nodiscard]] std::unique_ptr<backends::KvCache> create_paged_kv_cache(const KvLimits& limits) final;

  void embed(std::span<const std::int32_t> ids, const TensorView& out) final;
  void get_logits(const ConstTensorView& hidden, const TensorView& out) final;
  void batch_select_last_hidden_states(const ConstTensorView& hidden, std::span<const std::int32_t> positions,
                                       const TensorView& out) final;
  void forward(backends::Method method, const ConstTensorView& x, std::span<const std::int32_t> logit_positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) final;
  void run_part(const backends::Part& part, const ConstTensorView& x, backends::KvCache& cache, const TensorView& out,
                backends::TapSink* taps) final;

 protected:
  // `backend`: its name, for messages. `config`: of the part that `run` names.
  Session(std::string backend, ModelConfig config, backends::RunConfig run);

  [[nodiscard]] const ModelConfig& config() const { return config_; }
  [[nodiscard]] DType dtype() const { return run_.dtype; }

  // Arguments of what follows are checked. Pointers to rows of the caller have any alignment.
  [[nodiscard]] virtual std::unique_ptr<PagedCache> make_cache(const KvLimits& limits) = 0;
  // -> float32 [n, h]
  virtual void embed_rows(std::span<const std::int32_t> ids, std::byte* out) = 0;

  // The rows that `cache` announced are those of the calls that follow.
  virtual void begin(PagedCache& cache) = 0;
  // Rows float32 [n, h] of the caller become those of the session, and back.
  virtual void set_rows(const std::byte* x, Index count) = 0;
  virtual void get_rows(std::byte* out, Index count) = 0;
  // What the parts do to the rows.
  virtual void enter(backends::TapSink* taps) = 0;
  virtual void layer(Index index, backends::TapSink* taps) = 0;  // counted in the part
  virtual void final_norm(backends::TapSink* taps) = 0;
  // All parts that are here, in order.
  virtual void run_stack(backends::TapSink* taps);
  // -> float32 [rows chosen, V]
  virtual void write_logits(const RowChoice& rows, std::byte* out, backends::TapSink* taps) = 0;

 private:
  // The cache as one of this session's; else kv.state.
  [[nodiscard]] PagedCache& own(backends::KvCache& cache) const;
  void require_result(backends::Method method, const ConstTensorView& x, Index positions, const TensorView& out) const;
  void require_here(const backends::Part& part) const;
  // The cache's rows through what is here of the stack, in pieces where there are stages; in the last one hidden rows
  // stay in `hidden` where there is more than one piece, else they are the session's.
  void run_pieces(PagedCache& cache, Index pieces, const std::byte* x, backends::TapSink* taps);
  // The rows of the caller or of the stage before become the session's, and go to the stage behind.
  void take_rows(const std::byte* x, Index count, backends::TapSink* taps);
  void pass_rows_on(Index count);

  std::string backend_;
  ModelConfig config_;
  backends::RunConfig run_;
  std::vector<std::byte> passed_;  // from stage to stage
  std::vector<std::byte> hidden_;  // of all pieces
};

}  // namespace mlbench::stack
