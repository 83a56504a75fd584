// The inference methods that a backend can be asked for, with their arguments, shapes and types for one configuration.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/dtype.h"
#include "models/config.h"

namespace mlbench {

// A size that is known, or the name of one that each call decides: "seq_len" rows in prefill shape, "batch_size".
using SymbolicDim = std::variant<Index, std::string>;

struct ValueSpec {
  enum class Kind { tensor, kv_cache, integer };
  std::string name;
  Kind kind = Kind::tensor;
  std::string dtype;               // tensors: "float16", "int32"
  std::vector<SymbolicDim> shape;  // tensors
};

struct MethodSpec {
  std::string name;
  bool mlc_exported = false;          // in MLC-LLM's default specification of this architecture
  bool internal = false;              // a function of MLC-LLM's module that it does not export
  bool pipeline_partitioned = false;  // split over pipeline stages
  bool uses_weights = true;
  std::vector<ValueSpec> args;
  std::vector<ValueSpec> results;
};

// All methods; mlbench has every one for every architecture. `dtype` is the model's type.
[[nodiscard]] std::vector<MethodSpec> method_specs(const ModelConfig& config, DType dtype);

// The listing for programs (docs/models.md): architecture, config_hash, dtype, methods, kv_cache, bounds.
[[nodiscard]] nlohmann::ordered_json method_listing(const ModelConfig& config, DType dtype);

}  // namespace mlbench
