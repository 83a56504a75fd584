// What the workers of a split model hand each other, held against what each of them had (spec methods.md, sections 8
// and 9; docs/error-bounds.md, section "Shards"): a shard's summand against its own columns of the product, a sum
// against its summands, the rows that a stage received against those that the one before it sent.
#pragma once

#include "harness/check_tap.h"
#include "harness/given_taps.h"

namespace mlbench::harness {

class CollectiveChecks {
 public:
  CollectiveChecks(const TapPlace& place, const ErrorModel& model, const GivenTaps& given, const Report& report)
      : place_(place), model_(model), given_(given), report_(report) {}

  // Of attn_out and mlp_out, all products that are summed: the summands. `known`: what the product was computed from.
  void check_parts(TapId product, const KnownTaps& known) const;
  // The sum of these, where it is one by itself, and Phi's of both; in the order of computation.
  void check_sum_of(TapId product) const;
  void check_block(Index layer) const;
  // All sums of a layer.
  void check_sums(Index layer) const;
  // The rows that a layer received, where another stage ended before it: those bits.
  void check_transfer(Index layer) const;
  // Phi adds up what its layer adds: how far its own sum may be from that of the summands of attn_out and mlp_out,
  // empty where it has none.
  [[nodiscard]] ref::Tensor block_error(Index layer) const;

 private:
  // Phi sums attention's and the MLP's summands together.
  [[nodiscard]] bool adds_blocks() const;
  [[nodiscard]] std::optional<ref::Tensor> find(Tap tap, Index layer) const;
  void check_sum(Tap parts, Tap sum, Index layer) const;
  void report(TapId id, TapLayout layout, const std::string& name, const ref::Tensor& expected, const ref::Tensor& got,
              const ref::Tensor& bound) const;

  const TapPlace& place_;
  const ErrorModel& model_;
  const GivenTaps& given_;
  const Report& report_;
};

}  // namespace mlbench::harness
