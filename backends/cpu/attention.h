// Softmax attention of the rows of a call over what each sees in the paged cache.
#pragma once

#include <vector>

#include "backends/cpu/buffer.h"
#include "backends/cpu/heads.h"
#include "backends/cpu/kv_cache.h"
#include "backends/cpu/taps.h"

namespace mlbench::cpu {

class Attention {
 public:
  explicit Attention(int threads) : threads_(threads), per_thread_(static_cast<std::size_t>(threads)) {}

  // The rows of the calls that follow, as `cache` announced them.
  void set_plan(const paging::ForwardPlan& plan);

  // context [T, Hq*d] = sum over the visible j of softmax(scale * q . k_j) v_j; head h reads key-value head
  // h / (Hq / Hkv). Keys and values are widened to float32, scores and sums are float32. The sum is divided by
  // softmax's denominator at the end, so that attn.probs, which it gives, costs nothing where nobody wants it.
  void run(const Heads& q, const PagedKvCache& cache, Index layer, float scale, float* context, const Taps& taps);

 private:
  // Rows of one sequence that read each key and value together.
  struct Tile {
    Index first_row = 0;
    Index count = 0;
  };
  struct Thread {
    Buffer queries, scores, sums, totals, scratch;
    std::vector<const std::byte*> keys, values;  // of the entries that are visible
    std::vector<std::byte> zeros;
    std::vector<Index> joined;  // by row
  };
  struct Call;
  class Piece;
  class SideBySide;
  class RowByRow;

  void set_tiles(Index heads);

  int threads_;
  std::vector<Thread> per_thread_;
  const paging::ForwardPlan* plan_ = nullptr;
  std::vector<Tile> tiles_;
  Index tile_rows_ = 0;
  Index longest_ = 0;  // entries of the longest sequence of the call
  Buffer probs_;
};

}  // namespace mlbench::cpu
