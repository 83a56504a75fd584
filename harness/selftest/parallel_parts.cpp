#include "harness/selftest/parallel_parts.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "models/tensor_inventory.h"

namespace mlbench::selftest {
namespace {

using M = ParallelMistake;
using Role = TensorRole;

// Values of a tensor, to be changed.
struct Matrix {
  DType dtype = DType::f32;
  Index rows = 0, cols = 0;
  std::vector<double> values;
};

Matrix matrix_of(const WeightView& view) { return {view.dtype, view.rows, view.cols, view.widened()}; }

std::vector<Index> run(Index first, Index count) {
  std::vector<Index> out(static_cast<std::size_t>(count));
  std::iota(out.begin(), out.end(), first);
  return out;
}

// These rows of matrices that stand one under another; of biases, [1, n], these values.
Matrix rows_of(const std::vector<WeightView>& views, bool bias, const std::vector<Index>& rows) {
  std::vector<double> all;
  for (const WeightView& view : views) std::ranges::copy(view.widened(), std::back_inserter(all));
  const Index width = bias ? 1 : views.front().cols, count = static_cast<Index>(rows.size());
  Matrix out{views.front().dtype, bias ? 1 : count, bias ? count : width, {}};
  for (const Index row : rows) std::copy_n(all.begin() + row * width, width, std::back_inserter(out.values));
  return out;
}

Matrix columns_of(const WeightView& view, Index first, Index count) {
  const std::vector<double> all = view.widened();
  Matrix out{view.dtype, view.rows, count, {}};
  for (Index row = 0; row < view.rows; ++row)
    std::copy_n(all.begin() + row * view.cols + first, count, std::back_inserter(out.values));
  return out;
}

Matrix read_as(Matrix matrix, Index rows, Index cols) {
  matrix.rows = rows;
  matrix.cols = cols;
  return matrix;
}

Matrix times(Matrix matrix, double factor) {
  for (double& value : matrix.values) value *= factor;
  return matrix;
}

// Numbers of the type that are next to these, by size.
Matrix with_other_last_bits(Matrix matrix) {
  std::vector<std::byte> bytes(matrix.values.size() * size_bytes(matrix.dtype));
  narrow(matrix.dtype, matrix.values, bytes.data());
  for (std::size_t at = 0; at < bytes.size(); at += size_bytes(matrix.dtype)) bytes[at] ^= std::byte{1};
  widen(matrix.dtype, bytes.data(), matrix.values);
  return matrix;
}

class PartMaker {
 public:
  PartMaker(const Model& model, const ParallelPlanted& planted, const Split& split, Index shard, Index stage)
      : whole_(model),
        planted_(planted),
        shards_(split.tensor_parallel),
        shard_(shard),
        other_((shard + 1) % shards_),
        layers_(layers_of_stage(model.config.num_layers, split.pipeline_parallel, stage)),
        part_(part_of(model, split, shard, stage)),
        weights_(std::make_shared<Weights>(*part_.weights)) {}

  Model make() {
    for (Index layer = 0; layer < layers_.count; ++layer) {
      for (const TensorSpec& spec : layer_tensors(part_.config, layer)) change(spec, layers_.first + layer);
    }
    part_.weights = weights_;
    return part_;
  }

  // Last bits of what everybody holds.
  Model with_other_bits(const std::vector<std::string>& tensors) {
    for (const std::string& name : tensors) put(name, with_other_last_bits(matrix_of(weights_->get(name))));
    part_.weights = weights_;
    return part_;
  }

  [[nodiscard]] const ModelConfig& config() const { return part_.config; }

 private:
  void put(const std::string& name, const Matrix& matrix) {
    auto bytes = std::make_shared<std::vector<std::byte>>(matrix.values.size() * size_bytes(matrix.dtype));
    narrow(matrix.dtype, matrix.values, bytes->data());
    weights_->put(name, {matrix.dtype, matrix.rows, matrix.cols, bytes->data()});
    weights_->keep(std::move(bytes));
  }

  // The whole model's tensor of a layer.
  [[nodiscard]] WeightView whole(Role role, bool bias, Index layer) const {
    const auto specs = layer_tensors(whole_.config, layer);
    const auto at =
        std::ranges::find_if(specs, [&](const TensorSpec& spec) { return spec.role == role && spec.bias == bias; });
    return whole_.weights->get(at->name);
  }

  void change(const TensorSpec& spec, Index layer) {
    if (const auto rows = wrong_rows(spec.role, spec.bias, layer)) return put(spec.name, *rows);
    if (const auto matrix = spec.bias ? wrong_bias(spec) : wrong_cut(spec, layer)) put(spec.name, *matrix);
  }

  [[nodiscard]] std::optional<Matrix> wrong_rows(Role role, bool bias, Index layer) const {
    const auto next_ones = [&](M mistake, Role of) { return role == of && planted_.at(mistake); };
    if (next_ones(M::q_of_other, Role::q_proj) || next_ones(M::k_of_other, Role::k_proj) ||
        next_ones(M::v_of_other, Role::v_proj) || next_ones(M::gate_of_other, Role::mlp_gate) ||
        next_ones(M::up_of_other, Role::mlp_up))
      return rows_of({whole(role, bias, layer)}, bias, run(other_ * height(role), height(role)));
    if (role == Role::q_proj && planted_.at(M::q_round_robin))
      return rows_of({whole(role, bias, layer)}, bias, heads_in_turn());
    if (planted_.is(M::qkv_in_one_piece))
      return in_one_piece({Role::q_proj, Role::k_proj, Role::v_proj}, role, bias, layer);
    if (planted_.is(M::gate_up_in_one_piece)) return in_one_piece({Role::mlp_gate, Role::mlp_up}, role, bias, layer);
    return std::nullopt;
  }

  // Rows of this worker's part of a projection.
  [[nodiscard]] Index height(Role role) const {
    switch (role) {
      case Role::q_proj: return config().q_width();
      case Role::k_proj:
      case Role::v_proj: return config().kv_width();
      default: return config().intermediate_size;
    }
  }

  [[nodiscard]] std::vector<Index> heads_in_turn() const {
    std::vector<Index> rows;
    for (Index head = 0; head < config().num_heads; ++head)
      std::ranges::copy(run((head * shards_ + shard_) * config().head_dim, config().head_dim),
                        std::back_inserter(rows));
    return rows;
  }

  // One piece of the tensors one under another, of which this one's rows follow those of the ones before it.
  [[nodiscard]] std::optional<Matrix> in_one_piece(const std::vector<Role>& roles, Role role, bool bias,
                                                   Index layer) const {
    if (std::ranges::find(roles, role) == roles.end()) return std::nullopt;
    std::vector<WeightView> segments;
    Index piece = 0, before = 0;
    bool passed = false;
    for (const Role each : roles) {
      segments.push_back(whole(each, bias, layer));
      passed |= each == role;
      if (!passed) before += height(each);
      piece += height(each);
    }
    (void)planted_.at(planted_.is(M::qkv_in_one_piece) ? M::qkv_in_one_piece : M::gate_up_in_one_piece);
    return rows_of(segments, bias, run(shard_ * piece + before, height(role)));
  }

  // The part's session divides it by the shards.
  [[nodiscard]] std::optional<Matrix> wrong_bias(const TensorSpec& spec) const {
    if (!is_summed(spec.role)) return std::nullopt;
    const bool attention = spec.role == Role::attn_out;
    const auto shards = static_cast<double>(shards_);
    const Matrix bias = matrix_of(weights_->get(spec.name));
    if (planted_.at(attention ? M::attention_bias_undivided : M::mlp_bias_undivided)) return times(bias, shards);
    if (planted_.at(attention ? M::attention_bias_dropped : M::mlp_bias_dropped)) return times(bias, 0.0);
    if (planted_.at(attention ? M::attention_bias_divided_twice : M::mlp_bias_divided_twice))
      return times(bias, 1.0 / shards);
    return std::nullopt;
  }

  [[nodiscard]] std::optional<Matrix> wrong_cut(const TensorSpec& spec, Index layer) const {
    const Role role = spec.role;
    const bool by_columns = (role == Role::q_proj && planted_.at(M::q_cut_by_columns)) ||
                            (role == Role::mlp_up && planted_.at(M::up_cut_by_columns));
    const bool by_rows = (role == Role::attn_out && planted_.at(M::out_cut_by_rows)) ||
                         (role == Role::mlp_down && planted_.at(M::down_cut_by_rows));
    const bool next_ones = (role == Role::attn_out && planted_.at(M::out_of_other)) ||
                           (role == Role::mlp_down && planted_.at(M::down_of_other));
    if (!by_columns && !by_rows && !next_ones) return std::nullopt;
    const WeightView all = whole(role, false, layer);
    const Index width = all.cols / shards_, count = all.rows / shards_;
    if (next_ones) return columns_of(all, other_ * width, width);
    if (by_rows) return read_as(matrix_of(all.slice(shard_ * count, count)), all.rows, width);
    return read_as(columns_of(all, shard_ * width, width), count, all.cols);
  }

  const Model& whole_;
  const ParallelPlanted& planted_;
  Index shards_, shard_, other_;  // other: the shard after this one
  LayerRange layers_;
  Model part_;
  std::shared_ptr<Weights> weights_;
};

// The model with other layers' weights in the places of its own.
Model with_layers(const Model& model, const std::function<Index(Index)>& instead) {
  auto weights = std::make_shared<Weights>(*model.weights);
  for (Index layer = 0; layer < model.config.num_layers; ++layer) {
    const auto own = layer_tensors(model.config, layer), other = layer_tensors(model.config, instead(layer));
    for (std::size_t i = 0; i < own.size(); ++i) weights->put(own[i].name, model.weights->get(other[i].name));
  }
  Model out = model;
  out.weights = std::move(weights);
  return out;
}

// Which layer's weights a stage takes for those of `layer`.
Index wrong_layer(const ParallelPlanted& planted, const Split& split, Index layers, Index stage, Index layer) {
  if (stage > 0 && planted.at(M::layers_one_early)) return layer - 1;
  if (stage == 0 && planted.at(M::layers_one_late)) return layer + 1;
  if (stage > 0 && planted.at(M::layers_by_floor)) {
    const Index first = layers_of_stage(layers, split.pipeline_parallel, stage).first;
    return stage * (layers / split.pipeline_parallel) + layer - first;
  }
  return layer;
}

// What the last worker holds with other last bits: none where it is right.
std::vector<std::string> differing(const ParallelPlanted& planted, const ModelConfig& config) {
  const auto norm_of = [](const std::vector<TensorSpec>& specs) {
    return std::ranges::find_if(specs, [](const TensorSpec& s) { return s.role == Role::norm && !s.bias; })->name;
  };
  if (planted.at(M::norm_differs)) return {norm_of(layer_tensors(config, 0))};
  if (planted.at(M::final_norm_differs)) return {norm_of(global_tensors(config))};
  if (planted.at(M::embedding_differs)) return {embedding_name(config)};
  if (planted.at(M::head_differs)) return {kLmHeadName};
  return {};
}

}  // namespace

Model wrong_part_of(const Model& model, const ParallelPlanted& planted, const Split& split, Index shard, Index stage) {
  const LayerRange own = layers_of_stage(model.config.num_layers, split.pipeline_parallel, stage);
  const Model placed = with_layers(model, [&](Index layer) {
    if (layer < own.first || layer >= own.first + own.count) return layer;
    return wrong_layer(planted, split, model.config.num_layers, stage, layer);
  });
  PartMaker maker(placed, planted, split, shard, stage);
  const bool last = shard == split.tensor_parallel - 1 && stage == split.pipeline_parallel - 1;
  if (const auto tensors = last ? differing(planted, maker.config()) : std::vector<std::string>(); !tensors.empty())
    return maker.with_other_bits(tensors);
  return maker.make();
}

}  // namespace mlbench::selftest
