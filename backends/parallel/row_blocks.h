// Rows of one call that two computed: what goes to each, and what comes of both as rows of one call.
#pragma once

#include <array>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/backend.h"

namespace mlbench::parallel {

// The rows of a call that one computes, ascending: numbers from 0 on among those of the call.
using RowNumbers = std::vector<Index>;

// The place of `row` among `rows`; -1: it is not there.
[[nodiscard]] Index place_of(const RowNumbers& rows, Index row);

// These rows of the call's x, [1, n, width] or [n, width], as [rows, width].
[[nodiscard]] HostTensor taken(const ConstTensorView& x, const RowNumbers& rows);
// Puts row i of `from`, [rows, width] in any shape, to row rows[i] of `out`.
void put_rows(const HostTensor& from, const RowNumbers& rows, const TensorView& out);

// The taps of one call whose rows two computed: kept until both are done, then shown as if one had. Logits are left
// out: which rows of them a call has is the caller's.
class BlockTaps {
 public:
  // `rows`: of each of the two; all of them together are the call's.
  BlockTaps(std::array<RowNumbers, 2> rows, backends::TapSink& shown);

  [[nodiscard]] backends::TapSink* of(std::size_t which) { return &kept_[which]; }
  // Throws backend.failed where one of them gave what the other did not.
  void show(std::string_view doing);

 private:
  class Kept final : public backends::TapSink {
   public:
    explicit Kept(const backends::TapSink& shown) : shown_(shown) {}
    [[nodiscard]] bool wants(TapId id) const override { return id.tap != Tap::logits && shown_.wants(id); }
    void take(TapId id, const ConstTensorView& value) override;
    [[nodiscard]] const HostTensor* find(TapId id) const;
    [[nodiscard]] const std::vector<std::pair<TapId, HostTensor>>& all() const { return given_; }

   private:
    const backends::TapSink& shown_;
    std::vector<std::pair<TapId, HostTensor>> given_;  // in the order of computation
  };

  [[nodiscard]] HostTensor joined(std::string_view doing, TapId id) const;

  std::array<RowNumbers, 2> rows_;
  backends::TapSink& shown_;
  std::array<Kept, 2> kept_;
};

}  // namespace mlbench::parallel
