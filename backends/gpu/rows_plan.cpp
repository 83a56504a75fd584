#include "backends/gpu/rows_plan.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace mlbench::gpu {
namespace {

std::int32_t narrow(Index value) { return static_cast<std::int32_t>(value); }

// Rows of a prompt that follow each other, at most kTileRows.
std::vector<RowTile> tiles_of(const paging::ForwardPlan& plan) {
  std::vector<RowTile> out;
  for (std::size_t row = 0; row < plan.rows.size(); ++row) {
    const bool fits = row > 0 && plan.rows[row].sequence == plan.rows[row - 1].sequence && out.back().count < kTileRows;
    if (!fits) out.push_back({narrow(static_cast<Index>(row)), 0});
    ++out.back().count;
  }
  return out;
}

}  // namespace

Index RowsPlan::reserve(Index count) {
  const Index offset = size_;
  size_ += (count + 3) / 4 * 4;  // 16 bytes
  return offset;
}

void RowsPlan::set(const paging::ForwardPlan& plan, Growing& growing) {
  rows_ = static_cast<Index>(plan.rows.size());
  sequences_ = static_cast<Index>(plan.sequences.size());
  longest_ = 0;
  Index pages = 0;
  for (const paging::PlannedSequence& sequence : plan.sequences) {
    longest_ = std::max(longest_, sequence.total);
    pages = std::max(pages, static_cast<Index>(sequence.layout.pages.size()));
  }
  // A power of two, so that a sequence may grow without changing the forward's shape.
  max_pages_ = static_cast<Index>(std::bit_ceil(std::max<std::uint64_t>(8, static_cast<std::uint64_t>(pages))));
  path_ = 0;
  for (const paging::PlannedRow& row : plan.rows) path_ += static_cast<Index>(row.path.size()) - row.joined();
  const std::vector<RowTile> tiles = path_ > 0 || rows_ == sequences_ ? std::vector<RowTile>() : tiles_of(plan);
  num_tiles_ = static_cast<Index>(tiles.size());
  size_ = 0;
  positions_ = reserve(rows_);
  slots_ = reserve(rows_);
  sequence_ = reserve(rows_);
  prefix_ = reserve(rows_);
  path_begin_ = reserve(rows_ + 1);
  paths_ = reserve(path_);
  pages_ = reserve(sequences_ * max_pages_);
  sink_ = reserve(sequences_);
  gap_ = reserve(sequences_);
  tiles_ = reserve(2 * num_tiles_);
  const std::uint64_t bytes = static_cast<std::uint64_t>(size_) * sizeof(std::int32_t);
  growing.reserve(device_, bytes, "a forward's tables");
  auto* tables = static_cast<std::int32_t*>(growing.reserve(pinned_, bytes, "a forward's tables"));
  fill(plan, tables);
  if (!tiles.empty()) std::memcpy(tables + tiles_, tiles.data(), tiles.size() * sizeof(RowTile));
}

void RowsPlan::fill(const paging::ForwardPlan& plan, std::int32_t* tables) const {
  std::fill_n(tables, size_, 0);
  std::int32_t path = 0;
  for (Index r = 0; r < rows_; ++r) {
    const paging::PlannedRow& row = plan.rows[static_cast<std::size_t>(r)];
    const paging::Layout& layout = plan.sequences[static_cast<std::size_t>(row.sequence)].layout;
    const Index join = row.joined();
    tables[positions_ + r] = narrow(row.position);
    tables[slots_ + r] = narrow(layout.slot(row.entry));
    tables[sequence_ + r] = narrow(row.sequence);
    tables[prefix_ + r] = narrow(row.prefix + join);
    tables[path_begin_ + r] = path;
    for (auto i = static_cast<std::size_t>(join); i < row.path.size(); ++i)
      tables[paths_ + path++] = narrow(row.path[i]);
  }
  tables[path_begin_ + rows_] = path;
  for (Index s = 0; s < sequences_; ++s) {
    const paging::Layout& layout = plan.sequences[static_cast<std::size_t>(s)].layout;
    std::transform(layout.pages.begin(), layout.pages.end(), tables + pages_ + s * max_pages_, narrow);
    tables[sink_ + s] = narrow(layout.sink);
    tables[gap_ + s] = narrow(layout.gap);
  }
}

void RowsPlan::copy(Stream& stream) const {
  runtime_.copy_in(stream, device_.data(), pinned_.data(), static_cast<std::uint64_t>(size_) * sizeof(std::int32_t));
}

VisibleRows RowsPlan::visible() const {
  return {.sequence = at(sequence_),
          .prefix = at(prefix_),
          .path_begin = at(path_begin_),
          .path = at(paths_),
          .pages = at(pages_),
          .max_pages = max_pages_,
          .sink = at(sink_),
          .gap = at(gap_)};
}

}  // namespace mlbench::gpu
