// What a backend showed of one call or part.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "backends/backend.h"

namespace mlbench::harness {

class GivenTaps final : public backends::TapSink {
 public:
  GivenTaps() = default;
  // Keeps these alone, which must outlive it.
  explicit GivenTaps(std::span<const TapId> only) : only_(only) {}

  [[nodiscard]] bool wants(TapId id) const override { return !only_ || std::ranges::find(*only_, id) != only_->end(); }
  void take(TapId id, const ConstTensorView& value) override {
    HostTensor copy(value.dtype, value.shape);
    std::copy_n(value.data, copy.bytes().size(), copy.bytes().begin());
    values_.insert_or_assign(key(id), std::move(copy));
  }
  void put(TapId id, HostTensor value) { values_.insert_or_assign(key(id), std::move(value)); }
  void set_positions(std::vector<std::int32_t> positions) { positions_ = std::move(positions); }
  // What the cache said of the call's rows, [N].
  [[nodiscard]] const std::vector<std::int32_t>& positions() const { return positions_; }
  // Null where the backend gave none.
  [[nodiscard]] const HostTensor* find(TapId id) const {
    const auto it = values_.find(key(id));
    return it == values_.end() ? nullptr : &it->second;
  }

 private:
  static std::pair<Index, int> key(TapId id) { return {id.layer, static_cast<int>(id.tap)}; }
  std::optional<std::span<const TapId>> only_;
  std::map<std::pair<Index, int>, HostTensor> values_;
  std::vector<std::int32_t> positions_;
};

}  // namespace mlbench::harness
