// The execution that mistakes are planted in: a backend in plain float32 loops, with weights, activations and cache in
// f32 or bf16. Kept for the selftest alone and slow; it is none of the registry's.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "harness/selftest/planted.h"

namespace mlbench::selftest {

// Without a mistake: the honest one.
[[nodiscard]] std::unique_ptr<backends::Backend> make_subject(Planted planted = {});

}  // namespace mlbench::selftest
