// What must hold of the arguments of a call. Each throws a request error: input.shape, input.token_range or
// input.logit_position.
#pragma once

#include <span>
#include <string_view>

#include "backends/backend.h"

namespace mlbench::stack {

// A view of float32 values of this shape.
void require_shape(std::string_view where, const ConstTensorView& view, const Shape& shape);
// The rows of a forward: in the method's shape, `rows` of them or, in prefill shape, more.
void require_rows(backends::Method method, const ConstTensorView& x, Index rows, Index width);
void require_logit_positions(std::string_view where, std::span<const std::int32_t> positions, Index rows);
void require_tokens(std::span<const std::int32_t> ids, Index vocab_size);

}  // namespace mlbench::stack
