// Backends for tests of the verification: the CPU backend with a mistake around it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "backends/backend.h"

namespace mlbench::harness::test {

// What the CPU backend does with a model that was changed behind its caller's back.
[[nodiscard]] std::unique_ptr<backends::Backend> with_changed_model(std::function<Model(const Model&)> change);

// The model with row `row` of a tensor replaced by the row after it.
[[nodiscard]] Model with_row_repeated(const Model& model, const std::string& tensor, Index row);

// The CPU backend whose forwards with taps throw from the second one on.
[[nodiscard]] std::unique_ptr<backends::Backend> that_breaks();

}  // namespace mlbench::harness::test
