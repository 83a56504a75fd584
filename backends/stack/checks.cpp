#include "backends/stack/checks.h"

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::stack {
namespace {

using backends::Method;

Error wrong_shape(std::string_view where, std::string_view expected, const ConstTensorView& got) {
  return request_error("input.shape", fmt::format("{}: expected f32 {}, got {} {}", where, expected, name(got.dtype),
                                                  to_string(got.shape)));
}

enum class RowShape { prefill, one_row, decode };

RowShape shape_of(Method method) {
  switch (method) {
    case Method::decode:
    case Method::decode_to_last_hidden_states: return RowShape::one_row;
    case Method::batch_decode:
    case Method::batch_decode_to_last_hidden_states: return RowShape::decode;
    default: return RowShape::prefill;
  }
}

}  // namespace

void require_shape(std::string_view where, const ConstTensorView& view, const Shape& shape) {
  if (view.dtype != DType::f32 || view.shape != shape) throw wrong_shape(where, to_string(shape), view);
}

void require_rows(Method method, const ConstTensorView& x, Index rows, Index width) {
  const RowShape shape = shape_of(method);
  if (shape != RowShape::prefill) {
    if (shape == RowShape::one_row && rows != 1) {
      throw request_error("input.shape",
                          fmt::format("{}: takes one row, {} are announced", backends::name(method), rows));
    }
    return require_shape(backends::name(method), x, {rows, 1, width});
  }
  const Shape& s = x.shape;
  if (x.dtype == DType::f32 && s.size() == 3 && s[0] == 1 && s[1] >= rows && s[2] == width) return;
  throw wrong_shape(backends::name(method), fmt::format("[1, n >= {}, {}]", rows, width), x);
}

void require_logit_positions(std::string_view where, std::span<const std::int32_t> positions, Index rows) {
  for (std::size_t i = 0; i < positions.size(); ++i) {
    if (positions[i] >= 0 && positions[i] < rows) continue;
    throw request_error("input.logit_position", fmt::format("{}: logit position {} at index {}: there are rows 0..{}",
                                                            where, positions[i], i, rows - 1));
  }
}

void require_tokens(std::span<const std::int32_t> ids, Index vocab_size) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocab_size) continue;
    throw request_error("input.token_range",
                        fmt::format("embed: token id {} at index {}: ids end at {}", ids[i], i, vocab_size - 1));
  }
}

}  // namespace mlbench::stack
