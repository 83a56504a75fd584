// What a cluster is said to be, and what a split model is predicted to reach on it, independent of how they are shown.
// harness/measure fills these, reports/ renders them. Times are in seconds, sizes in bytes, rates per second.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/bench_results.h"
#include "core/dtype.h"
#include "core/tensor.h"

namespace mlbench {

// A message of n bytes takes latency_seconds + n / bytes_per_second (the alpha-beta model).
struct Link {
  double latency_seconds = 0.0;
  double bytes_per_second = 0.0;  // of one device, each way
  // The rate is a node's, and all its messages that leave it, or that reach it, at the same time divide it.
  bool shared_by_node = false;
};

struct ClusterDevice {
  std::string name;
  std::uint64_t memory_bytes = 0;
  double layer_latency_seconds = 0.0;  // beside computing and reading, of each layer in each call
  std::vector<ProbeResult> rates;      // one for each storage type that is known
};

// Nodes that are alike, of devices that are alike. Device d stands in node d / devices_per_node.
struct Cluster {
  std::string note;
  Index nodes = 1, devices_per_node = 1;
  ClusterDevice device;
  std::optional<Link> within_node, between_nodes;  // where there is a second device, a second node
  DType exchange_dtype = DType::f32;               // of rows and summands that ranks exchange

  [[nodiscard]] Index devices() const { return nodes * devices_per_node; }
};

// Of the worker that needs the most; shards of a stage need the same.
struct PredictedMemory {
  Index worker = 0, stage = 0;
  std::uint64_t weights_bytes = 0, cache_bytes = 0, scratch_bytes = 0;
  std::uint64_t device_bytes = 0;  // what there is

  [[nodiscard]] std::uint64_t total() const { return weights_bytes + cache_bytes + scratch_bytes; }
  [[nodiscard]] bool fits() const { return total() <= device_bytes; }
};

// One method at one point. The three parts of `seconds` are means over the workers: what each computes, what it spends
// on messages, and what it waits.
struct PredictedRow {
  BenchPoint point;  // `device` is the cluster's; backend and threads say nothing
  std::string method;
  bool decode = false;             // its calls are steps
  Index micro_batches = 1;         // of a call
  double seconds = 0.0;            // as of a benchmark's repetition: the prompt, or all steps
  double tokens_per_second = 0.0;  // of all replicas
  double compute_seconds = 0.0, communication_seconds = 0.0, bubble_seconds = 0.0;
  PredictedMemory memory;
};

// What was asked for and cannot be.
struct NotOffered {
  std::string code, reason;  // as of the error that it would be alone
  friend bool operator==(const NotOffered&, const NotOffered&) = default;
};

struct Prediction {
  std::string command;
  std::string cluster_file;
  Cluster cluster;
  std::vector<PredictedRow> rows;
  std::vector<NotOffered> not_offered;
};

}  // namespace mlbench
