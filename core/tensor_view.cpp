#include "core/tensor_view.h"

#include <cassert>

namespace mlbench {

Tensor<double> widened(const ConstTensorView& view) {
  Tensor<double> out(view.shape);
  widen(view.dtype, view.data, out.values());
  return out;
}

HostTensor::HostTensor(DType dtype, Shape shape)
    : dtype_(dtype),
      shape_(std::move(shape)),
      bytes_(static_cast<std::size_t>(element_count(shape_)) * size_bytes(dtype)) {}

HostTensor::HostTensor(DType dtype, const Tensor<double>& values) : HostTensor(dtype, values.shape()) {
  narrow(dtype, values.values(), bytes_.data());
}

HostTensor HostTensor::reshaped(Shape shape) && {
  assert(element_count(shape) == element_count(shape_));
  shape_ = std::move(shape);
  return std::move(*this);
}

}  // namespace mlbench
