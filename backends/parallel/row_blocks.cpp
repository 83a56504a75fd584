#include "backends/parallel/row_blocks.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::parallel {
namespace {

std::size_t row_bytes(DType dtype, const Shape& shape) {
  return static_cast<std::size_t>(shape.back()) * size_bytes(dtype);
}

// Taps are [T, width] or [A, T, width]: rows of tokens are the axis before the last.
Index outer_of(const Shape& shape) { return shape.size() == 2 ? 1 : shape[0]; }

}  // namespace

Index place_of(const RowNumbers& rows, Index row) {
  const auto at = std::ranges::lower_bound(rows, row);
  return at == rows.end() || *at != row ? -1 : static_cast<Index>(at - rows.begin());
}

HostTensor taken(const ConstTensorView& x, const RowNumbers& rows) {
  HostTensor out(x.dtype, {static_cast<Index>(rows.size()), x.shape.back()});
  const std::size_t bytes = row_bytes(x.dtype, x.shape);
  auto to = out.bytes().begin();
  for (const Index row : rows) to = std::copy_n(x.data + static_cast<std::size_t>(row) * bytes, bytes, to);
  return out;
}

void put_rows(const HostTensor& from, const RowNumbers& rows, const TensorView& out) {
  const std::size_t bytes = row_bytes(out.dtype, out.shape);
  const std::byte* next = from.bytes().data();
  for (const Index row : rows) {
    std::copy_n(next, bytes, out.data + static_cast<std::size_t>(row) * bytes);
    next += bytes;
  }
}

BlockTaps::BlockTaps(std::array<RowNumbers, 2> rows, backends::TapSink& shown)
    : rows_(std::move(rows)), shown_(shown), kept_{Kept(shown), Kept(shown)} {}

void BlockTaps::Kept::take(TapId id, const ConstTensorView& value) {
  given_.emplace_back(id, HostTensor(value.dtype, value.shape));
  const std::span<std::byte> to = given_.back().second.bytes();
  std::copy_n(value.data, to.size(), to.begin());
}

const HostTensor* BlockTaps::Kept::find(TapId id) const {
  const auto at = std::ranges::find(given_, id, [](const auto& each) { return each.first; });
  return at == given_.end() ? nullptr : &at->second;
}

// Probabilities are as long as the longest sequence of a call: those of the other are 0 beyond their own.
HostTensor BlockTaps::joined(std::string_view doing, TapId id) const {
  Shape shape;
  for (std::size_t which = 0; which < kept_.size(); ++which) {
    if (rows_[which].empty()) continue;
    const HostTensor* part = kept_[which].find(id);
    if (part == nullptr || part->shape()[part->shape().size() - 2] != static_cast<Index>(rows_[which].size()))
      throw Error(ErrorKind::internal, "backend.failed",
                  fmt::format("{}: one of two instances did not give its rows of {}", doing, to_string(id)));
    if (shape.empty()) shape = part->shape();
    shape.back() = std::max(shape.back(), part->shape().back());
  }
  const auto all = static_cast<Index>(rows_[0].size() + rows_[1].size());
  shape[shape.size() - 2] = all;
  const HostTensor* const any = kept_[rows_[0].empty() ? 1 : 0].find(id);
  HostTensor out(any->dtype(), shape);
  const std::size_t bytes = row_bytes(out.dtype(), shape);
  for (std::size_t which = 0; which < kept_.size(); ++which) {
    if (rows_[which].empty()) continue;
    const HostTensor& part = *kept_[which].find(id);
    const std::size_t own_bytes = row_bytes(part.dtype(), part.shape());
    const std::byte* next = part.bytes().data();
    for (Index outer = 0; outer < outer_of(shape); ++outer) {
      for (const Index row : rows_[which]) {
        std::copy_n(next, own_bytes, out.bytes().data() + static_cast<std::size_t>(outer * all + row) * bytes);
        next += own_bytes;
      }
    }
  }
  return out;
}

void BlockTaps::show(std::string_view doing) {
  for (const auto& given : kept_[rows_[0].empty() ? 1 : 0].all())
    shown_.take(given.first, joined(doing, given.first).view());
}

}  // namespace mlbench::parallel
