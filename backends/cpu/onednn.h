// oneDNN, 2.6 or 3.x, as far as this backend needs it: products y = x W^T + b. The only file that includes the
// library's header, and the only one that knows where its two interfaces differ.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>
#include <oneapi/dnnl/dnnl.hpp>

#include "core/error.h"
#include "core/tensor.h"

namespace mlbench::cpu::onednn {

// What oneDNN multiplies; results are float32 either way.
enum class Type { f32, bf16 };

[[nodiscard]] inline std::string version() {
  const dnnl_version_t* v = dnnl_version();
  return fmt::format("oneDNN {}.{}.{}", v->major, v->minor, v->patch);
}

// An instruction set's number has the bits of all that it contains.
[[nodiscard]] inline bool has(dnnl::cpu_isa isa) {
  const auto wanted = static_cast<unsigned>(isa);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & wanted) == wanted;
}

// Whether bf16 products run in hardware rather than emulated.
[[nodiscard]] inline bool multiplies_bf16() { return has(dnnl::cpu_isa::avx512_core_bf16); }

// The best instruction set that the library uses here.
[[nodiscard]] inline std::string_view instruction_set() {
  using Named = std::pair<dnnl::cpu_isa, std::string_view>;
  constexpr std::array kBestFirst = {
      Named{dnnl::cpu_isa::avx512_core_amx, "avx512_core_amx"},
      Named{dnnl::cpu_isa::avx512_core_bf16, "avx512_core_bf16"},
      Named{dnnl::cpu_isa::avx512_core_vnni, "avx512_core_vnni"},
      Named{dnnl::cpu_isa::avx512_core, "avx512_core"},
      Named{dnnl::cpu_isa::avx2_vnni, "avx2_vnni"},
      Named{dnnl::cpu_isa::avx2, "avx2"},
      Named{dnnl::cpu_isa::avx, "avx"},
      Named{dnnl::cpu_isa::sse41, "sse41"},
  };
  for (const auto& [isa, name] : kBestFirst) {
    if (has(isa)) return name;
  }
  return "baseline";
}

// Its exceptions become ours.
template <class Fn>
auto checked(const char* doing, Fn fn) {
  try {
    return fn();
  } catch (const dnnl::error& error) {
    throw Error(ErrorKind::internal, "backend.failed", fmt::format("oneDNN: {}: {}", doing, error.message));
  }
}

struct ProductShape {
  Index rows = 0;  // of x and y
  Index in = 0;
  Index out = 0;
  // From a row of y to the next, >= out; exactly 1 where out is 1, as oneDNN 3.7 then takes the rows for packed
  // (brg_matmul of AVX-512) and writes over other elements of y.
  Index y_stride = 0;
  Type type = Type::f32;
  bool bias = false;  // float32

  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the comparison with 0 for one with a pointer
  friend auto operator<=>(const ProductShape&, const ProductShape&) = default;
};

[[nodiscard]] inline dnnl::memory::data_type data_type(Type type) {
  return type == Type::f32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
}

// The processor, and a stream of work on it. One thread at a time uses a stream.
class Engine {
 public:
  Engine() : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {}
  // What was compiled for one engine runs on no other, but on all of its streams.
  [[nodiscard]] Engine another_stream() const { return Engine(engine_); }

  [[nodiscard]] const dnnl::engine& engine() const { return engine_; }
  [[nodiscard]] dnnl::stream& stream() { return stream_; }
  [[nodiscard]] dnnl::memory memory(const dnnl::memory::desc& layout, const void* data) const {
    return {layout, engine_, const_cast<void*>(data)};  // NOLINT: the library has no memory that is only read
  }

 private:
  explicit Engine(dnnl::engine engine) : engine_(std::move(engine)), stream_(engine_) {}

  dnnl::engine engine_;
  dnnl::stream stream_;
};

// A compiled product with W as it stands in a checkpoint, rows [out, in]. It runs with the number of threads that
// OpenMP had in store where it was made.
class Product {
 public:
  Product(const Engine& engine, const ProductShape& shape)
      : description_(checked("making a product", [&] { return describe(engine, shape); })),
        product_(checked("compiling a product", [&] { return dnnl::matmul(description_); })) {}

  [[nodiscard]] std::string implementation() const { return description_.impl_info_str(); }
  [[nodiscard]] std::size_t scratch_bytes() const { return description_.scratchpad_desc().get_size(); }

  // x [rows, in] and W of the product's type, bias and y float32. `scratch` has scratch_bytes(); calls with a scratch
  // and an engine of their own may run at the same time.
  void run(Engine& engine, const void* x, const void* weights, const float* bias, float* y, void* scratch) const {
    checked("multiplying", [&] {
      std::unordered_map<int, dnnl::memory> arguments = {
          {DNNL_ARG_SRC, engine.memory(description_.src_desc(), x)},
          {DNNL_ARG_WEIGHTS, engine.memory(description_.weights_desc(), weights)},
          {DNNL_ARG_DST, engine.memory(description_.dst_desc(), y)},
          {DNNL_ARG_SCRATCHPAD, engine.memory(description_.scratchpad_desc(), scratch)},
      };
      if (bias != nullptr) arguments.emplace(DNNL_ARG_BIAS, engine.memory(description_.bias_desc(), bias));
      product_.execute(engine.stream(), arguments);
      engine.stream().wait();
    });
  }

 private:
  using Description = dnnl::matmul::primitive_desc;

  static Description describe(const Engine& engine, const ProductShape& s) {
    using Dims = dnnl::memory::dims;
    using Layout = dnnl::memory::desc;
    const Layout weights({s.in, s.out}, data_type(s.type), dnnl::memory::format_tag::ba);
    const Layout x({s.rows, s.in}, data_type(s.type), Dims{s.in, 1});
    const Layout y({s.rows, s.out}, dnnl::memory::data_type::f32, Dims{s.y_stride, 1});
    const Layout bias({1, s.out}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::ab);
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
#if DNNL_VERSION_MAJOR >= 3
    if (s.bias) return {engine.engine(), x, weights, bias, y, attributes};
    return {engine.engine(), x, weights, y, attributes};
#else
    const auto operation = s.bias ? dnnl::matmul::desc(x, weights, bias, y) : dnnl::matmul::desc(x, weights, y);
    return {operation, attributes, engine.engine()};
#endif
  }

  Description description_;
  dnnl::matmul product_;
};

}  // namespace mlbench::cpu::onednn
