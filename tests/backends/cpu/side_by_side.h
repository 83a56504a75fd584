// The CPU backend and the float64 reference side by side, on the same weights rounded to the session's type: one story
// is told to both, and every tap and result of the one is held against the other's.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "backends/backend.h"
#include "tests/reference/small_models.h"

namespace mlbench::cpu::test {

using Ids = ref::test::Ids;
using backends::Method;

[[nodiscard]] double unit_roundoff(DType type);

// The small preset, two layers, loaded by the CPU backend.
[[nodiscard]] std::unique_ptr<backends::Session> load(const Model& model, DType dtype, int threads = 1);

inline constexpr KvLimits kLimits = {
    .max_batch_size = 8, .max_total_seq_len = 512, .prefill_chunk_size = 256, .page_size = 16};

struct Call {
  Method method = Method::batch_verify;
  std::vector<SeqId> ids;
  std::vector<Index> lengths;
  Ids tokens;
  std::vector<std::int32_t> logit_positions = {};
  std::optional<std::vector<Index>> parents = std::nullopt;
};

class SideBySide {
 public:
  SideBySide(const Model& model, DType dtype, const KvLimits& limits = kLimits, int threads = 1);

  [[nodiscard]] backends::Session& session() { return *session_; }
  [[nodiscard]] backends::KvCache& cache() { return *cache_; }

  // Calls operation(cache) on both caches.
  template <class Operation>
  void both(Operation operation) {
    operation(*cache_);
    operation(reference_cache_);
  }
  // Announces the rows, runs the method with all taps, ends the forward; compares taps and result.
  void run(const Call& call);
  void prefill(SeqId id, const Ids& tokens) {
    run({Method::prefill, {id}, {static_cast<Index>(tokens.size())}, tokens});
  }
  void decode(SeqId id, std::int32_t token) { run({Method::decode, {id}, {1}, {token}}); }
  // The cached entries of a sequence.
  void compare_entries(SeqId id);

 private:
  void compare(const std::string& what, double unit, double depth, const Tensor<double>& expected,
               const Tensor<double>& got) const;
  [[nodiscard]] double unit_of(TapId id) const;

  Model model_;  // the session reads its weights
  Model rounded_;
  Workers workers_;
  ref::Reference reference_;
  ref::PagedKvCache reference_cache_;
  std::unique_ptr<backends::Session> session_;
  std::unique_ptr<backends::KvCache> cache_;
};

// The call's rows, embedded, in the method's shape.
[[nodiscard]] HostTensor embedded(backends::Session& session, const Call& call, Index hidden_size);
// Room for the call's result, every byte of it set.
[[nodiscard]] HostTensor room_for_result(const Call& call, const Shape& x, const ModelConfig& config);
// Between begin_forward and end_forward: the result of the session alone.
[[nodiscard]] HostTensor run_alone(backends::Session& session, backends::KvCache& cache, const ModelConfig& config,
                                   const Call& call, backends::TapSink* taps = nullptr);

}  // namespace mlbench::cpu::test
