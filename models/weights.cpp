#include "models/weights.h"

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench {

WeightView WeightView::slice(Index first, Index count) const {
  const auto skipped = static_cast<std::size_t>(first * cols) * size_bytes(dtype);
  return {.dtype = dtype, .rows = count, .cols = cols, .data = data + skipped};
}

void WeightView::widen_row(Index r, std::span<double> out) const {
  widen(dtype, data + static_cast<std::size_t>(r * cols) * size_bytes(dtype), out);
}

std::vector<double> WeightView::widened() const {
  std::vector<double> out(static_cast<std::size_t>(size()));
  widen(dtype, data, out);
  return out;
}

const WeightView& Weights::get(const std::string& name) const {
  const auto it = views_.find(name);
  if (it == views_.end()) {
    throw Error(ErrorKind::internal, "weights.unknown", fmt::format("no weight {} was loaded", in_quotes(name)));
  }
  return it->second;
}

}  // namespace mlbench
