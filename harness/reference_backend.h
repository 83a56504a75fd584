// The float64 reference as a backend: what is verified and measured like any other.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "backends/backend.h"
#include "reference/tensor.h"

namespace mlbench::harness {

// What a tap is replaced by while it computes; nothing: it stays. Mistakes are planted so, to see them found.
using Plant = std::function<std::optional<ref::Tensor>(TapId id, const ref::Tensor& value)>;

[[nodiscard]] std::unique_ptr<backends::Backend> make_reference_backend(Plant plant = nullptr);

}  // namespace mlbench::harness
