#include <fmt/format.h>

#include "core/error.h"
#include "reference/decoder.h"

namespace mlbench::ref {

Tensor gather_embedding(const WeightView& embedding, std::span<const std::int32_t> ids) {
  Tensor out({static_cast<Index>(ids.size()), embedding.cols});
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= embedding.rows) {
      throw request_error("input.token_range", fmt::format("token id {} at index {}: the vocabulary has ids 0..{}",
                                                           ids[i], i, embedding.rows - 1));
    }
    embedding.widen_row(ids[i], out.row(static_cast<Index>(i)));
  }
  return out;
}

}  // namespace mlbench::ref
