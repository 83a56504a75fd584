// Packed row-major values of any storage type in host memory, and tensors that own such values. What crosses the
// interface of backends.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "core/dtype.h"
#include "core/tensor.h"

namespace mlbench {

struct ConstTensorView {
  DType dtype = DType::f32;
  Shape shape;
  const std::byte* data = nullptr;  // any alignment
};

struct TensorView {
  DType dtype = DType::f32;
  Shape shape;
  std::byte* data = nullptr;

  operator ConstTensorView() const { return {dtype, shape, data}; }  // NOLINT(google-explicit-constructor)
};

[[nodiscard]] Tensor<double> widened(const ConstTensorView& view);

class HostTensor {
 public:
  HostTensor() = default;
  HostTensor(DType dtype, Shape shape);
  // `values` rounded to `dtype`, to nearest with ties to even.
  HostTensor(DType dtype, const Tensor<double>& values);

  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] TensorView view() { return {dtype_, shape_, bytes_.data()}; }
  [[nodiscard]] ConstTensorView view() const { return {dtype_, shape_, bytes_.data()}; }
  [[nodiscard]] std::span<std::byte> bytes() { return bytes_; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }
  // The same values under another shape of equal size.
  [[nodiscard]] HostTensor reshaped(Shape shape) &&;
  [[nodiscard]] Tensor<double> widened() const { return mlbench::widened(view()); }

  friend bool operator==(const HostTensor&, const HostTensor&) = default;

 private:
  DType dtype_ = DType::f32;
  Shape shape_;
  std::vector<std::byte> bytes_;
};

}  // namespace mlbench
