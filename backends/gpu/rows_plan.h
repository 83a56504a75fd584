// What the kernels read of an announced forward: positions, slots and what each row sees, as tables of integers in one
// piece of pinned memory that one copy takes to the device.
#pragma once

#include <cstdint>
#include <vector>

#include "backends/gpu/growing.h"
#include "backends/paging/page_table.h"

namespace mlbench::gpu {

class RowsPlan {
 public:
  explicit RowsPlan(Runtime& runtime) : runtime_(runtime) {}

  // Fills the pinned tables; nothing is queued.
  void set(const paging::ForwardPlan& plan, Growing& growing);
  // Queues their copy.
  void copy(Stream& stream) const;

  [[nodiscard]] Index rows() const { return rows_; }
  [[nodiscard]] Index longest() const { return longest_; }  // entries of any sequence
  // Whether rows are taken in tiles: prompts without trees.
  [[nodiscard]] bool tiled() const { return num_tiles_ > 0; }
  // Equal for forwards of which one can be replayed as the other: as many rows and sequences, tables at the same
  // places.
  [[nodiscard]] std::vector<Index> shape() const { return {rows_, sequences_, max_pages_, num_tiles_, path_}; }

  [[nodiscard]] const std::int32_t* positions() const { return at(positions_); }
  [[nodiscard]] const std::int32_t* slots() const { return at(slots_); }
  [[nodiscard]] VisibleRows visible() const;
  [[nodiscard]] const RowTile* tiles() const { return reinterpret_cast<const RowTile*>(at(tiles_)); }
  [[nodiscard]] Index num_tiles() const { return num_tiles_; }

 private:
  // Where a table begins, in integers.
  Index reserve(Index count);
  [[nodiscard]] const std::int32_t* at(Index offset) const {
    return static_cast<const std::int32_t*>(device_.data()) + offset;
  }
  void fill(const paging::ForwardPlan& plan, std::int32_t* tables) const;

  Runtime& runtime_;
  Pinned pinned_;
  Memory device_;
  Index rows_ = 0, sequences_ = 0, longest_ = 0, max_pages_ = 0, num_tiles_ = 0, path_ = 0, size_ = 0;
  Index positions_ = 0, slots_ = 0, sequence_ = 0, prefix_ = 0, path_begin_ = 0, paths_ = 0, pages_ = 0, sink_ = 0,
        gap_ = 0, tiles_ = 0;
};

}  // namespace mlbench::gpu
