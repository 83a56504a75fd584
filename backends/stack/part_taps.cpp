#include "backends/stack/part_taps.h"

#include <algorithm>
#include <cstring>

namespace mlbench::stack {

void PartTaps::take(TapId id, const ConstTensorView& value) {
  if (pieces_ == 1) return shown_.take(of_model(id), value);
  HostTensor copy(value.dtype, value.shape);
  std::copy_n(value.data, copy.bytes().size(), copy.bytes().begin());
  taken_[{of_model(id).layer, id.tap}].push_back(std::move(copy));
}

void PartTaps::finish() {
  for (const auto& [key, pieces] : taken_) give({key.second, key.first}, pieces);
  taken_.clear();
}

// [T, width] and [H, T, width]: rows of tokens are the axis before the last.
void PartTaps::give(TapId id, const std::vector<HostTensor>& pieces) {
  Shape shape = pieces.front().shape();
  const std::size_t rows_axis = shape.size() - 2;
  if (id.tap == Tap::probs) shape.back() = visible_;
  shape[rows_axis] = 0;
  for (const HostTensor& piece : pieces) shape[rows_axis] += piece.shape()[rows_axis];
  const Index heads = rows_axis == 0 ? 1 : shape[0], rows = shape[rows_axis];
  const std::size_t element = size_bytes(pieces.front().dtype());
  const std::size_t width = static_cast<std::size_t>(shape.back()) * element;
  HostTensor whole(pieces.front().dtype(), shape);
  Index first = 0;
  for (const HostTensor& piece : pieces) {
    const Index count = piece.shape()[rows_axis];
    const std::size_t piece_width = static_cast<std::size_t>(piece.shape().back()) * element;
    for (Index row = 0; row < heads * count; ++row) {
      const Index to = row / count * rows + first + row % count;
      std::copy_n(piece.bytes().begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(row) * piece_width),
                  piece_width,
                  whole.bytes().begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(to) * width));
    }
    first += count;
  }
  shown_.take(id, whole.view());
}

}  // namespace mlbench::stack
