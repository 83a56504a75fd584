// Between the structures of backends/plugin.h and our own.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/plugin.h"
#include "core/error.h"
#include "models/parts.h"

namespace mlbench::plugin {

// Text from a library, of at most `capacity` bytes up to a zero byte, as it may stand in a line of ours: control
// characters and bytes that are no UTF-8 escaped.
[[nodiscard]] std::string clean_text(const char* text, std::size_t capacity);
// Cut to `capacity` bytes, zero byte included; never in the middle of a character.
void copy_text(std::string_view text, char* out, std::size_t capacity);

[[nodiscard]] Error backend_failed(const std::string& message);  // ErrorKind::internal, backend.failed

// ---- what is passed to a library; structures of C with what they point to ----

class CConfig {
 public:
  explicit CConfig(const ModelConfig& config);
  [[nodiscard]] const mlbench_config* get() const { return &parts_->config; }

 private:
  struct Parts {
    std::vector<double> short_factor, long_factor;
    std::string dtype, json;
    mlbench_rope rope{};
    mlbench_config config{};
  };
  std::unique_ptr<Parts> parts_;  // stays where it is when this moves
};

// `device` of the result points into `run`; there is no group.
[[nodiscard]] mlbench_run to_c(const backends::RunConfig& run);
[[nodiscard]] mlbench_kv_limits to_c(const KvLimits& limits);
[[nodiscard]] mlbench_tensor to_c(const TensorView& view);
[[nodiscard]] mlbench_const_tensor to_c(const ConstTensorView& view);

// Every tensor that a model gives a backend: those of its inventory, and the output layer also where it is tied.
struct NamedTensor {
  std::string name;
  Shape shape;
};
[[nodiscard]] std::vector<NamedTensor> tensors_of(const ModelConfig& config);

class CModel {
 public:
  explicit CModel(const Model& model);
  [[nodiscard]] const mlbench_model* get() const { return &parts_->model; }

 private:
  struct Parts {
    CConfig config;
    std::vector<NamedTensor> names;
    std::vector<mlbench_weight> weights;
    std::string origin;
    mlbench_model model{};
  };
  std::unique_ptr<Parts> parts_;
};

// ---- what comes from the other side; nonsense is backend.failed ----

[[nodiscard]] DType dtype_of(std::int32_t dtype, std::string_view what);
[[nodiscard]] backends::Summation summation_of(std::int32_t fused, std::int32_t truncates, std::string_view what);
[[nodiscard]] ConstTensorView view_of(const mlbench_const_tensor& tensor);
[[nodiscard]] TensorView view_of(const mlbench_tensor& tensor);
// Of what need not have data, as a stage's rows come from another worker.
[[nodiscard]] ConstTensorView form_of(const mlbench_const_tensor& tensor);
[[nodiscard]] TensorView form_of(const mlbench_tensor& tensor);
[[nodiscard]] ModelConfig config_of(const mlbench_config& config);
[[nodiscard]] backends::RunConfig run_of(const mlbench_run& run);  // without its group
[[nodiscard]] const mlbench_group* group_in(const mlbench_run& run);
[[nodiscard]] KvLimits limits_of(const mlbench_kv_limits& limits);
[[nodiscard]] Model model_of(const mlbench_model& model);
// Of a worker that has `layers` of the model.
[[nodiscard]] std::optional<TapId> tap_of(std::int32_t tap, std::int64_t layer, LayerRange layers);

// Nothing where both are 0, not measured.
[[nodiscard]] std::optional<backends::DeviceRates> rates_of(double read_bytes_per_second, double flops_per_second);

// Bytes of a tensor; nothing where a size is negative or the product does not fit.
[[nodiscard]] std::optional<std::size_t> bytes_of(DType dtype, const Shape& shape);

}  // namespace mlbench::plugin
