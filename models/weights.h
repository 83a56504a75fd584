// The weights of one model, whatever they came from, under the names of its Hugging Face checkpoint.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/dtype.h"
#include "core/tensor.h"
#include "models/config.h"

namespace mlbench {

// A packed row-major matrix in its storage type, owned by the Weights it came from. Linear layers are [out, in];
// a vector of n values is [1, n]. Data may stand at any alignment.
struct WeightView {
  DType dtype = DType::f64;
  Index rows = 0;
  Index cols = 0;
  const std::byte* data = nullptr;

  [[nodiscard]] Index size() const { return rows * cols; }
  // `count` rows from `first` on.
  [[nodiscard]] WeightView slice(Index first, Index count) const;
  // Row `r` as float64; exact for every storage type. out.size() == cols.
  void widen_row(Index r, std::span<double> out) const;
  // All values as float64.
  [[nodiscard]] std::vector<double> widened() const;
};

// Where another process may map the same weights, if it sees the same files.
struct WeightsSource {
  std::string folder;     // a checkpoint's, absolute
  std::string overrides;  // JSON object of the fields that replace those of its config.json
  // What was done to what the files have: rounded_to() of this type (models/rounded.h). Nothing: these weights are
  // theirs.
  struct Rounding {
    DType dtype = DType::f32;
    std::string sample_digest;  // weights_sample_digest() of what the files have (models/weights_digest.h)
  };
  std::optional<Rounding> rounding;
};

class Weights {
 public:
  // Keeps `owner` (a mapped file, a buffer) alive as long as this.
  void keep(std::shared_ptr<const void> owner) { owners_.push_back(std::move(owner)); }
  void put(const std::string& name, WeightView view) { views_[name] = view; }
  // Of weights that are a checkpoint's.
  void set_source(WeightsSource source) { source_ = std::move(source); }
  [[nodiscard]] const std::optional<WeightsSource>& source() const { return source_; }

  // The tensor of that name; it exists for every name of the model's inventory (tensor_inventory.h), and
  // "lm_head.weight" also where the output layer is tied to the embedding.
  [[nodiscard]] const WeightView& get(const std::string& name) const;
  [[nodiscard]] bool has(const std::string& name) const { return views_.contains(name); }

 private:
  std::unordered_map<std::string, WeightView> views_;
  std::vector<std::shared_ptr<const void>> owners_;
  std::optional<WeightsSource> source_;
};

// A configuration and its weights: what a backend is asked to load.
struct Model {
  ModelConfig config;
  std::shared_ptr<const Weights> weights;
  std::string origin;                 // for reports: the checkpoint's folder, or preset, type and seed
  std::vector<std::string> warnings;  // of the configuration and of the weights, one line each
};

}  // namespace mlbench
