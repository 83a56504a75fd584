// The vocabulary of kernels on the processor: see vocabulary.h. Threads are the executor's.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "backends/gpu/executor/executor.h"
#include "backends/gpu/kernels/call_name.h"
#include "backends/gpu/kernels/place.h"
#include "backends/gpu/kernels/types.h"

#define MLBENCH_GPU_TARGET host_device
#define GPU_KERNEL [[maybe_unused]] static
#define GPU_DEVICE inline
#define GPU_UNROLL

// A key of its own for every declaration and every instance of a template: a variable's address. GCC 12 warns of
// extents that depend on a template's int.
#define GPU_SHARED(type, name, ...)                                                                  \
  _Pragma("GCC diagnostic push")                                                                     \
      _Pragma("GCC diagnostic ignored \"-Wsign-conversion\"") typedef type name##_array __VA_ARGS__; \
  _Pragma("GCC diagnostic pop") static char name##_key;                                              \
  auto& name = *static_cast<name##_array*>(::mlbench::gpu::executor::shared_array(                   \
      &name##_key, sizeof(name##_array), alignof(name##_array), #name, ::mlbench::gpu::executor::Here::current()))
// NOLINTNEXTLINE(bugprone-macro-parentheses): a type does not stand in parentheses
#define GPU_DYNAMIC_SHARED(type, name) auto* name = static_cast<type*>(::mlbench::gpu::executor::dynamic_shared())

namespace mlbench::gpu {

class Stream;

namespace host_device {

using executor::barrier;
using executor::block_extent;
using executor::block_place;
using executor::grid_extent;
using executor::Here;
using executor::thread_place;

template <int W>
int lane(Here here = Here::current()) {
  return executor::lane(W, here);
}

template <int W>
int warp(Here here = Here::current()) {
  return executor::warp(W, here);
}

// The value that lane `source` has; every lane takes part.
template <int W, class T>
T value_of_lane(T value, int source, Here here) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "devices shuffle 4 or 8 bytes");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = executor::exchange(W, bits, here)[source];
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

inline void check_lane(int lane, int width, Here here) {
  if (lane < 0 || lane >= width) executor::fail(here, "lane " + std::to_string(lane) + " does not exist");
}

template <int W, class T>
T shuffle(T value, int lane, Here here = Here::current()) {
  check_lane(lane, W, here);
  return value_of_lane<W>(value, lane, here);
}

template <int W, class T>
T shuffle_xor(T value, int mask, Here here = Here::current()) {
  check_lane(mask, W, here);
  return value_of_lane<W>(value, executor::lane(W, here) ^ mask, here);
}

// Lanes beyond the last: the own value.
template <int W, class T>
T shuffle_down(T value, int count, Here here = Here::current()) {
  check_lane(count, W, here);
  const int own = executor::lane(W, here);
  return value_of_lane<W>(value, own + count < W ? own + count : own, here);
}

template <int W>
std::uint64_t ballot(bool vote, Here here = Here::current()) {
  const std::uint64_t* votes = executor::exchange(W, vote ? 1U : 0U, here);
  std::uint64_t result = 0;
  for (int i = 0; i < W; ++i) result |= votes[i] << static_cast<unsigned>(i);
  return result;
}

inline float to_float(float x) { return x; }
inline float to_float(bf16 x) { return from_bf16(x.bits); }
inline float to_float(f16 x) { return from_f16(x.bits); }

// The upper half of a float32's bits, as an integer, rounded: a carry out of the fraction is the next exponent, and
// beyond the largest, infinity.
inline std::uint16_t bits_of_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (std::isnan(x)) return static_cast<std::uint16_t>((bits >> 31U << 15U) | 0x7FC0U);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16U & 1U)) >> 16U);
}

// Likewise the 10 leading bits of the fraction, the exponent's bias changed from 127 to 15. Subnormals are multiples of
// 2^-24, which is what float32 has between 0.5 and 1: adding 0.5 rounds to them.
inline std::uint16_t bits_of_f16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = bits >> 31U << 15U;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  std::uint32_t rounded = 0;
  if (std::isnan(x)) {
    rounded = 0x7E00U;
  } else if (magnitude >= 0x47800000U) {  // 2^16
    rounded = 0x7C00U;
  } else if (magnitude < 0x38800000U) {  // 2^-14
    rounded = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3F000000U;
  } else {
    rounded = (magnitude + 0xFFFU + (magnitude >> 13U & 1U) - ((127U - 15U) << 23U)) >> 13U;
  }
  return static_cast<std::uint16_t>(sign | rounded);
}

template <class T>
T from_float(float x) {
  if constexpr (std::is_same_v<T, bf16>) {
    return {bits_of_bf16(x)};
  } else if constexpr (std::is_same_v<T, f16>) {
    return {bits_of_f16(x)};
  } else {
    static_assert(std::is_same_v<T, float>);
    return x;
  }
}

inline void check_aligned(const void* data, std::size_t alignment, Here here) {
  if (reinterpret_cast<std::uintptr_t>(data) % alignment != 0) {
    executor::fail(here, "a pack of " + std::to_string(alignment) + " bytes where no multiple of them stands");
  }
}

template <class T, int n>
Pack<T, n> load_pack(const T* from, Here here = Here::current()) {
  check_aligned(from, sizeof(Pack<T, n>), here);
  Pack<T, n> pack;
  std::memcpy(&pack, from, sizeof(pack));
  return pack;
}

template <class T, int n>
void store_pack(T* to, const Pack<T, n>& pack, Here here = Here::current()) {
  check_aligned(to, sizeof(pack), here);
  std::memcpy(to, &pack, sizeof(pack));
}

inline float gpu_exp(float x) { return std::exp(x); }
inline float gpu_sqrt(float x) { return std::sqrt(x); }
inline float gpu_rsqrt(float x) { return 1.0F / std::sqrt(x); }
inline float gpu_erf(float x) { return std::erf(x); }
inline float gpu_tanh(float x) { return std::tanh(x); }
inline float gpu_fma(float a, float b, float c) { return std::fma(a, b, c); }
inline float gpu_abs(float x) { return std::fabs(x); }
inline float gpu_max(float a, float b) { return std::fmax(a, b); }
inline float gpu_min(float a, float b) { return std::fmin(a, b); }

// Of tile_product.h.
template <int W>
inline constexpr bool kHasTileProducts = W == 32 || W == 64;

template <class Call, class Bytes>
void launch(void (*kernel)(Call), Place grid, Place block, Bytes shared_bytes, Stream& /*done at once*/,
            const std::type_identity_t<Call>& call, Here here = Here::current()) {
  static_assert(std::is_trivially_copyable_v<Call> && std::is_integral_v<Bytes>);
  struct Bound {
    void (*kernel)(Call);
    const Call* call;
  };
  const Bound bound{kernel, &call};
  const auto body = [](const void* argument) {
    const auto& [made, of] = *static_cast<const Bound*>(argument);
    made(*of);
  };
  executor::run({grid, block, static_cast<Index>(shared_bytes), here, call_name<Call>(), body, &bound});
}

}  // namespace host_device
}  // namespace mlbench::gpu
