// y = x W^T + bias by a library of cuBLASLt's kind, which hipBLASLt is, too; sums in float32. For a shape the library
// is asked once how it would do it, and does it so from then on: a row's result depends on what is multiplied, not on
// when.
//
// `Lt` brings names, as an Api does: backends/cuda/cublas_lt.h shows what all there is to one. Its Functions are the
// library's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "backends/gpu/vendor/products.h"
#include "core/error.h"

namespace mlbench::gpu::vendor {

// What decides how a product is done.
struct ProductShape {
  DType stored = DType::f32;
  bool bias = false;
  Index rows = 0, in = 0, out = 0;
  // Of x, W and y, in bytes, a power of two; no kernel asks for more than kFullAlignment.
  std::uint32_t x_alignment = 0, weight_alignment = 0, y_alignment = 0;

  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the comparison with 0 for one with a pointer
  friend auto operator<=>(const ProductShape&, const ProductShape&) = default;
};
inline constexpr std::uint32_t kFullAlignment = 16;

[[nodiscard]] inline ProductShape shape_of(const ProductCall& call) {
  const auto alignment = [](const void* pointer) {
    const auto address = reinterpret_cast<std::uintptr_t>(pointer) | kFullAlignment;
    return static_cast<std::uint32_t>(address & (~address + 1));  // its lowest bit
  };
  return {.stored = call.stored,
          .bias = call.bias != nullptr,
          .rows = call.rows,
          .in = call.in,
          .out = call.out,
          .x_alignment = alignment(call.x),
          .weight_alignment = alignment(call.weight),
          .y_alignment = alignment(call.y)};
}

[[nodiscard]] inline std::string described_as(const ProductShape& shape) {
  return fmt::format("{} product of {} rows, {} to {}", name(shape.stored), shape.rows, shape.in, shape.out);
}

// What became of a product.
enum class Queued {
  nothing,  // the library has no way to do it
  product,  // without the bias
  all,
};

template <class Lt>
class LtProducts {
 public:
  using Functions = typename Lt::Functions;

  LtProducts(const Functions& library, void* workspace, std::uint64_t workspace_bytes)
      : library_(&library),
        handle_(nullptr, library.destroy),
        workspace_(workspace),
        workspace_bytes_(workspace_bytes) {
    typename Lt::Handle raw = nullptr;
    require(library.create(&raw), "starting");
    handle_.reset(raw);
  }

  [[nodiscard]] Queued queue(typename Lt::Stream stream, const ProductCall& call) {
    const ProductShape shape = shape_of(call);
    const std::optional<Plan>& planned = plan(shape, call.bias);
    if (!planned) return Queued::nothing;
    const Plan& way = *planned;
    if (way.adds_bias) {
      require(library_->set_operation(way.operation.get(), Lt::kBiasPointer, &call.bias, sizeof call.bias),
              "naming a bias");
    }
    constexpr float kOne = 1.0F, kZero = 0.0F;
    const auto status = library_->matmul(handle_.get(), way.operation.get(), &kOne, call.weight, way.weight.get(),
                                         call.x, way.x.get(), &kZero, call.y, way.y.get(), call.y, way.y.get(),
                                         &way.algorithm, workspace_, workspace_bytes_, stream);
    if (status != Lt::kSuccess) require(status, fmt::format("queueing a {}", described_as(shape)));
    return way.adds_bias || call.bias == nullptr ? Queued::all : Queued::product;
  }

  // Shapes that were met.
  [[nodiscard]] std::size_t planned() const { return plans_.size(); }

 private:
  template <class Raw>
  using Owned = std::unique_ptr<std::remove_pointer_t<Raw>, typename Lt::template Destroy<Raw>>;
  using Layout = Owned<typename Lt::Layout>;
  using Preference = Owned<typename Lt::Preference>;
  struct Plan {
    bool adds_bias = false;
    Owned<typename Lt::Operation> operation;
    Layout weight, x, y;
    typename Lt::Algorithm algorithm{};
  };

  void require(typename Lt::Status status, std::string_view doing) const { Lt::check(*library_, status, doing); }

  // The library counts columns first: a row-major [r, c] is a matrix of c rows and r columns to it.
  [[nodiscard]] Layout layout(typename Lt::DataType type, Index rows, Index cols) const {
    const auto size = [](Index count) { return static_cast<std::uint64_t>(count); };
    typename Lt::Layout raw = nullptr;
    require(library_->create_layout(&raw, type, size(cols), size(rows), cols), "describing a matrix");
    return {raw, library_->destroy_layout};
  }

  [[nodiscard]] Preference preference(const ProductShape& shape) const {
    typename Lt::Preference raw = nullptr;
    require(library_->create_preference(&raw), "making preferences");
    Preference made(raw, library_->destroy_preference);
    Lt::prefer(shape, workspace_bytes_, [&](typename Lt::PreferenceName name, auto value) {
      require(library_->set_preference(raw, name, &value, sizeof value), "setting a preference");
    });
    return made;
  }

  // y^T [out, rows] = W x^T, where the library takes x [rows, in] for x^T, and W [out, in] for a W^T to be transposed.
  [[nodiscard]] Plan described(const ProductShape& shape, const float* bias) const {
    const auto stored = Lt::data_type(shape.stored), sums = Lt::data_type(DType::f32);
    typename Lt::Operation raw = nullptr;
    require(library_->create_operation(&raw, Lt::kSumsInFloat32, sums), "describing a product");
    Plan plan{.adds_bias = bias != nullptr,
              .operation = {raw, library_->destroy_operation},
              .weight = layout(stored, shape.out, shape.in),
              .x = layout(stored, shape.rows, shape.in),
              .y = layout(sums, shape.rows, shape.out)};
    const auto set = [&](typename Lt::OperationName name, auto value) {
      require(library_->set_operation(raw, name, &value, sizeof value), "describing a product");
    };
    set(Lt::kTransposeOfFirst, Lt::kTransposed);
    if (bias != nullptr) {
      set(Lt::kEpilogue, Lt::kAddsBias);
      set(Lt::kBiasType, sums);
      set(Lt::kBiasPointer, bias);
    }
    return plan;
  }

  // False: the library has no way to do it.
  [[nodiscard]] bool choose(const ProductShape& shape, Plan& plan) const {
    const auto wanted = preference(shape);
    std::array<typename Lt::Heuristic, 4> found{};
    int count = 0;
    const auto status =
        library_->get_heuristic(handle_.get(), plan.operation.get(), plan.weight.get(), plan.x.get(), plan.y.get(),
                                plan.y.get(), wanted.get(), static_cast<int>(found.size()), found.data(), &count);
    if (status == Lt::kNotSupported) return false;
    require(status, fmt::format("asking how to do a {}", described_as(shape)));
    for (const auto& way : std::span(found).first(static_cast<std::size_t>(count))) {  // best first
      if (way.state != Lt::kSuccess) continue;
      plan.algorithm = way.algo;
      return true;
    }
    return false;
  }

  [[nodiscard]] std::optional<Plan> make_plan(const ProductShape& shape, const float* bias) const {
    Plan plan = described(shape, bias);
    if (choose(shape, plan)) return plan;
    return bias == nullptr ? std::nullopt : make_plan(shape, nullptr);
  }

  [[nodiscard]] const std::optional<Plan>& plan(const ProductShape& shape, const float* bias) {
    if (const auto found = plans_.find(shape); found != plans_.end()) return found->second;
    return plans_.emplace(shape, make_plan(shape, bias)).first->second;
  }

  const Functions* library_;
  Owned<typename Lt::Handle> handle_;
  void* workspace_;
  std::uint64_t workspace_bytes_;
  std::map<ProductShape, std::optional<Plan>> plans_;
};

}  // namespace mlbench::gpu::vendor
