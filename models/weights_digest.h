// One number for all weights of a model: whether two machines hold the same ones.
#pragma once

#include <string>

#include "core/workers.h"
#include "models/weights.h"

namespace mlbench {

// FNV-1a over names, types, shapes and stored bytes of every tensor in the order of the inventory, pieces of each
// tensor hashed on their own; 16 hexadecimal digits. Tells weights apart; no defence against an adversary.
[[nodiscard]] std::string weights_digest(const Model& model, Workers& workers);

// The same of some bytes of each tensor, from its beginning to its end: reads little of any model. Tells apart what was
// not made from each other.
[[nodiscard]] std::string weights_sample_digest(const Model& model);

}  // namespace mlbench
