#include "models/rounded.h"

#include <span>

#include "models/tensor_inventory.h"
#include "models/weights_digest.h"

namespace mlbench {
namespace {

WeightView rounded(const WeightView& from, DType dtype, Workers& workers, Weights& owner) {
  const std::size_t row_bytes = static_cast<std::size_t>(from.cols) * size_bytes(dtype);
  const auto bytes = std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(from.rows) * row_bytes);
  workers.each(from.rows, [&](Index r) {
    std::vector<double> row(static_cast<std::size_t>(from.cols));
    from.widen_row(r, row);
    narrow(dtype, row, bytes->data() + static_cast<std::size_t>(r) * row_bytes);
  });
  owner.keep(bytes);
  return {.dtype = dtype, .rows = from.rows, .cols = from.cols, .data = bytes->data()};
}

}  // namespace

bool is_exact(DType from, DType to) {
  if (from == to || to == DType::f64) return true;
  return to == DType::f32 && from != DType::f64;
}

Model rounded_to(const Model& model, DType dtype, Workers& workers) {
  Model out = model;
  const auto weights = std::make_shared<Weights>();
  bool some_shared = false, all_shared = true;
  const auto take = [&](const std::string& name) {
    const WeightView& view = model.weights->get(name);
    const bool exact = is_exact(view.dtype, dtype);
    some_shared = some_shared || exact;
    all_shared = all_shared && exact;
    weights->put(name, exact ? view : rounded(view, dtype, workers, *weights));
  };
  for (const TensorSpec& spec : global_tensors(model.config)) take(spec.name);
  for (Index layer = 0; layer < model.config.num_layers; ++layer) {
    for (const TensorSpec& spec : layer_tensors(model.config, layer)) take(spec.name);
  }
  if (model.config.tie_word_embeddings) weights->put(kLmHeadName, weights->get(embedding_name(model.config)));
  if (some_shared) weights->keep(model.weights);
  if (auto source = model.weights->source(); source && (all_shared || !source->rounding)) {
    if (!all_shared) source->rounding = {dtype, weights_sample_digest(model)};
    weights->set_source(*std::move(source));
  }
  out.weights = weights;
  return out;
}

}  // namespace mlbench
