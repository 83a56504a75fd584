// A dense row-major tensor that owns its values. Shapes are written outermost first: [T, H, Dh].
#pragma once

#include <cassert>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace mlbench {

using Index = std::int64_t;
using Shape = std::vector<Index>;

[[nodiscard]] Index element_count(const Shape& shape);    // 1 for rank 0
[[nodiscard]] std::string to_string(const Shape& shape);  // "[2, 3]"

template <class T>
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(Shape shape, T fill = T{})
      : shape_(std::move(shape)), values_(static_cast<std::size_t>(element_count(shape_)), fill) {}
  Tensor(Shape shape, std::vector<T> values) : shape_(std::move(shape)), values_(std::move(values)) {
    assert(static_cast<Index>(values_.size()) == element_count(shape_));
  }

  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] Index dim(std::size_t axis) const { return shape_[axis]; }
  [[nodiscard]] Index size() const { return static_cast<Index>(values_.size()); }
  // The tensor as a matrix: the last axis is a row, all others together count the rows.
  [[nodiscard]] Index cols() const { return shape_.empty() ? 1 : shape_.back(); }
  [[nodiscard]] Index rows() const { return cols() == 0 ? 0 : size() / cols(); }

  [[nodiscard]] std::span<T> row(Index r) { return {data() + r * cols(), static_cast<std::size_t>(cols())}; }
  [[nodiscard]] std::span<const T> row(Index r) const {
    return {data() + r * cols(), static_cast<std::size_t>(cols())};
  }
  [[nodiscard]] std::span<T> values() { return values_; }
  [[nodiscard]] std::span<const T> values() const { return values_; }
  [[nodiscard]] T* data() { return values_.data(); }
  [[nodiscard]] const T* data() const { return values_.data(); }

  // The same values under another shape of equal size.
  [[nodiscard]] Tensor reshaped(Shape shape) && {
    assert(element_count(shape) == size());
    return Tensor(std::move(shape), std::move(values_));
  }
  [[nodiscard]] Tensor reshaped(Shape shape) const& { return Tensor(*this).reshaped(std::move(shape)); }

  friend bool operator==(const Tensor&, const Tensor&) = default;

 private:
  Shape shape_;
  std::vector<T> values_;
};

}  // namespace mlbench
