#include "backends/cpu/product.h"

#include <algorithm>
#include <cstdint>

#include "backends/cpu/convert.h"
#include "backends/cpu/row_products.h"
#include "backends/cpu/threads.h"

namespace mlbench::cpu {
namespace {

// Rows of W that a thread widens at a time: with half as many, oneDNN takes a fifth longer for 512 rows of x, twice as
// long for 64.
constexpr Index kPanel = 128;
constexpr Index kLeastPart = 64;  // rows of W that a thread takes at a time, of few rows of x
constexpr std::size_t kMostProducts = 1024;

std::size_t matrix_bytes(const WeightView& weight, DType type) {
  return static_cast<std::size_t>(weight.size()) * size_bytes(type);
}

bool aligned(const std::byte* data, DType type) {
  return reinterpret_cast<std::uintptr_t>(data) % size_bytes(type) == 0;
}

Buffer rounded_copy(const WeightView& weight, DType type, int threads) {
  Buffer out(matrix_bytes(weight, type));
  const auto row_bytes = static_cast<std::size_t>(weight.cols) * size_bytes(type);
  std::vector<std::vector<double>> wide(static_cast<std::size_t>(threads));
  parallel_for(weight.rows, threads, [&](Index row, int thread) {
    std::vector<double>& values = wide[static_cast<std::size_t>(thread)];
    values.resize(static_cast<std::size_t>(weight.cols));
    weight.widen_row(row, values);
    mlbench::narrow(type, values, out.data() + static_cast<std::size_t>(row) * row_bytes);
  });
  return out;
}

}  // namespace

Products::Products(DType stored, int threads) : stored_(stored), threads_(threads) {
  const onednn::Engine first;
  for (int thread = 0; thread < threads; ++thread) per_thread_.push_back({first.another_stream(), {}, {}});
}

bool Products::native(DType stored) {
  return stored == DType::f32 || (stored == DType::bf16 && onednn::multiplies_bf16());
}

onednn::Type Products::type() const {
  return native() && stored_ == DType::bf16 ? onednn::Type::bf16 : onednn::Type::f32;
}

Matrix Products::prepare(const WeightView& weight) {
  Matrix matrix{.out = weight.rows, .in = weight.cols, .data = weight.data, .owned = {}};
  if (weight.dtype != stored_ || !aligned(weight.data, stored_)) {
    matrix.owned = rounded_copy(weight, stored_, threads_);
    matrix.data = matrix.owned.data();
  }
  return matrix;
}

ProductInput Products::input(const float* x, Index rows, Index width) {
  const bool rounds = type() != onednn::Type::f32;
  if (!rounds && rows > kFewRows) return {x, rows, width};
  const auto row_bytes = static_cast<std::size_t>(width) * size_bytes(stored_);
  std::byte* rounded = rounds ? rounded_.reserve(static_cast<std::size_t>(rows) * row_bytes) : nullptr;
  const int team = worthwhile(8 * rows * width, threads_);
  if (rounds) {
    parallel_for(rows, team, [&](Index row, int) {
      narrow(stored_, x + row * width, rounded + static_cast<std::size_t>(row) * row_bytes, width);
    });
    if (rows > kFewRows) return {rounded, rows, width};
    float* few = few_.floats(rows * width);
    widen(stored_, rounded, few, rows * width);
    x = few;
  }
  float* packed = packed_.floats(packed_values(rows, width));
  pack_rows(x, rows, width, packed);
  return {packed, rows, width};
}

void Products::multiply(const ProductInput& x, const Linear& layer, float* y) {
  if (x.rows == 0) return;
  if (products_.size() >= kMostProducts) products_.clear();
  if (x.rows <= kFewRows) return multiply_few(x, layer, y);
  return native() ? multiply_rows(x, layer, y) : multiply_panels(x, layer, y);
}

void Products::multiply_few(const ProductInput& x, const Linear& layer, float* y) {
  const Matrix& w = layer.weight;
  const RowProduct product{.x = static_cast<const float*>(x.data),
                           .rows = x.rows,
                           .in = w.in,
                           .type = stored_,
                           .weight = w.data,
                           .bias = layer.bias_or_null(),
                           .y = y,
                           .stride = w.out};
  const int team = worthwhile(w.in * w.out, threads_);
  // Parts in which a thread reads on and on, and enough of them for one that started late.
  const Index part = team == 1 ? w.out : std::max<Index>(kLeastPart, w.out / (8 * team));
  parallel_for((w.out + part - 1) / part, team,
               [&](Index item, int) { cpu::multiply_rows(product, item * part, std::min(w.out, (item + 1) * part)); });
}

// `one_thread`: to be run inside a region.
const onednn::Product& Products::product(const onednn::ProductShape& shape, bool one_thread) {
  const std::pair key(shape, one_thread);
  if (const auto found = products_.find(key); found != products_.end()) return found->second;
  const ThreadCount count(one_thread ? 1 : threads_);
  return products_.emplace(key, onednn::Product(per_thread_[0].engine, shape)).first->second;
}

void Products::multiply_rows(const ProductInput& x, const Linear& layer, float* y) {
  const Matrix& w = layer.weight;
  const int team = worthwhile(x.rows * w.in * w.out, threads_);
  const onednn::Product& product = this->product(
      {.rows = x.rows, .in = w.in, .out = w.out, .y_stride = w.out, .type = type(), .bias = !layer.bias.empty()},
      team == 1);
  Thread& self = per_thread_[0];
  const ThreadCount count(team);
  product.run(self.engine, x.data, w.data, layer.bias_or_null(), y, self.scratch.reserve(product.scratch_bytes()));
}

void Products::multiply_panels(const ProductInput& x, const Linear& layer, float* y) {
  const Matrix& w = layer.weight;
  onednn::ProductShape shape{.rows = x.rows,
                             .in = w.in,
                             .out = std::min(kPanel, w.out),
                             .y_stride = w.out,
                             .type = onednn::Type::f32,
                             .bias = !layer.bias.empty()};
  // A last row by itself goes with the panel before it (onednn::ProductShape says why).
  const Index panels = std::max<Index>(1, (w.out + kPanel - 2) / kPanel);
  const Index last_rows = w.out - (panels - 1) * kPanel;
  const onednn::Product& whole = product(shape, true);
  shape.out = last_rows;
  const onednn::Product& last = product(shape, true);

  const auto row_bytes = static_cast<std::size_t>(w.in) * size_bytes(stored_);
  const ThreadCount one_each(1);
  parallel_for(panels, worthwhile(x.rows * w.in * w.out, threads_), [&](Index panel, int thread) {
    Thread& self = per_thread_[static_cast<std::size_t>(thread)];
    const Index first = panel * kPanel;
    const Index count = panel < panels - 1 ? kPanel : last_rows;
    const onednn::Product& product = panel < panels - 1 ? whole : last;
    float* rows = self.panel.floats((kPanel + 1) * w.in);
    widen(stored_, w.data + static_cast<std::size_t>(first) * row_bytes, rows, count * w.in);
    const float* bias = layer.bias.empty() ? nullptr : layer.bias.data() + first;
    product.run(self.engine, x.data, rows, bias, y + first, self.scratch.reserve(product.scratch_bytes()));
  });
}

std::vector<std::string> Products::implementations() const {
  std::vector<std::string> out;
  for (const auto& [key, product] : products_) out.push_back(product.implementation());
  return out;
}

}  // namespace mlbench::cpu
