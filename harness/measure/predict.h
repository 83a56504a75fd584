// What a split model would reach on a cluster that is only described: no device is touched. docs/scaling.md has the
// formulas and what they leave out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/prediction.h"
#include "models/config.h"
#include "models/parts.h"

namespace mlbench::measure {

// The rows of the methods that bench times by default at the point. The split has to be one that parallel_rules.h
// allows, the cluster has its devices, and `rates` are those of the point's type. `asked` micro-batches of each call,
// as far as it has rows; 0: as many as are the quickest.
[[nodiscard]] std::vector<PredictedRow> predict(const Cluster& cluster, const ProbeResult& rates,
                                                const ModelConfig& config, const BenchPoint& point, Index asked = 0);

[[nodiscard]] Split split_of(const BenchPoint& point);

// The error cluster.devices where the cluster has fewer devices than that takes.
[[nodiscard]] std::optional<Error> why_not(const Cluster& cluster, const Split& split, Index replicas);

// Bytes of the tensors that a worker of the stage holds: its part of the layers, the embeddings and the output layer on
// every stage, the final norm on the last.
[[nodiscard]] double weights_bytes(const ModelConfig& config, DType stored, const Split& split, Index stage);

}  // namespace mlbench::measure
