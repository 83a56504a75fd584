#include "backends/gpu/kernels/rows.h"

#include <numeric>

#include "tests/backends/gpu/kernel_test.h"

namespace mlbench::gpu {
namespace {

using test::Buffer;
using test::kStored;
using test::Moved;
using test::NoStream;
using test::on_every_row;
using test::on_every_warp;
using test::rounded_bytes;
using test::some_values;

// ---- add_bias ----

TEST(AddBiasKernel, IsOneFloat32Addition) {
  constexpr Index kRows = 3;
  on_every_row(2, [](auto warp, Index width, Moved moved) {
    const std::vector<double> before = some_values(kRows * width, 1, 4.0), bias = some_values(width, 2, 1.0);
    std::vector<double> biases;
    for (Index r = 0; r < kRows; ++r) biases.insert(biases.end(), bias.begin(), bias.end());
    Buffer y = test::floats(before, moved(0)), b = test::floats(bias, moved(1));
    NoStream stream;
    host_device::launch_add_bias<warp()>(stream, {.y = y.floats(), .bias = b.floats(), .rows = kRows, .width = width});
    EXPECT_EQ(y.values(), test::float_sum(before, biases));
    EXPECT_TRUE(y.guarded());
  });
}

// ---- gather_rows ----

// Values of some rows, one after the other.
std::vector<double> rows_of(const std::vector<double>& values, const std::vector<std::int32_t>& rows, Index width) {
  std::vector<double> out;
  for (const std::int32_t row : rows) {
    out.insert(out.end(), values.begin() + row * width, values.begin() + (row + 1) * width);
  }
  return out;
}

TEST(GatherRowsKernel, GivesTheSameBitsAndTheirRounding) {
  on_every_row(3, [](auto warp, Index width, Moved moved) {
    for (const DType type : kStored) {
      SCOPED_TRACE(name(type));
      const std::vector<double> values = some_values(5 * width, 3, 100.0);
      const std::vector<std::int32_t> chosen = {3, 3, 0, 4};
      Buffer x = test::floats(values, moved(0));
      Buffer out(DType::f32, 4 * width, moved(1)), stored(type, 4 * width, moved(2));
      NoStream stream;
      host_device::launch_gather_rows<warp()>(stream, {.x = x.floats(),
                                                       .chosen = chosen.data(),
                                                       .out = out.floats(),
                                                       .stored = type,
                                                       .out_stored = stored.data(),
                                                       .rows = 4,
                                                       .width = width});
      const std::vector<double> expected = rows_of(values, chosen, width);
      EXPECT_EQ(out.values(), expected);
      EXPECT_EQ(stored.bytes(), rounded_bytes(type, expected));
      EXPECT_TRUE(out.guarded() && stored.guarded());
    }
  });
}

TEST(GatherRowsKernel, TakesEveryRowWhereNoneIsChosenAndWritesOnlyWhatIsWanted) {
  on_every_warp([](auto warp) {
    const std::vector<double> values = some_values(3 * 40, 4, 100.0);
    Buffer x = test::floats(values);
    NoStream stream;
    Buffer out(DType::f32, 3 * 40);
    host_device::launch_gather_rows<warp()>(stream, {.x = x.floats(), .out = out.floats(), .rows = 3, .width = 40});
    EXPECT_EQ(out.values(), values);
    Buffer stored(DType::bf16, 3 * 40);
    const GatherRowsCall narrowed{
        .x = x.floats(), .stored = DType::bf16, .out_stored = stored.data(), .rows = 3, .width = 40};
    host_device::launch_gather_rows<warp()>(stream, narrowed);
    EXPECT_EQ(stored.bytes(), rounded_bytes(DType::bf16, values));
  });
}

// Ties, what overflows f16, subnormals, infinities.
TEST(GatherRowsKernel, RoundsAsStoredValuesAre) {
  on_every_warp([](auto warp) {
    const std::vector<double> values = {
        1.0 + 0x1p-11, 1.0 + 0x3p-11, 1.0 + 0x1p-8,   1.0 + 0x3p-8,    65520.0,
        65519.0,       0x1p-25,       0x1.8p-25,      0x1.004p-15,     -0.0,
        3.3e38,        -0x1p-149,     0x1.FFFFFEp127, test::kInfinity, -test::kInfinity};
    for (const DType type : kStored) {
      Buffer x = test::floats(values);
      Buffer stored(type, x.size());
      NoStream stream;
      host_device::launch_gather_rows<warp()>(
          stream, {.x = x.floats(), .stored = type, .out_stored = stored.data(), .rows = 1, .width = x.size()});
      EXPECT_EQ(stored.bytes(), rounded_bytes(type, x.values())) << name(type);
    }
  });
}

// ---- widen ----

// Every bit pattern there is.
TEST(WidenKernel, IsExactForEveryValue) {
  std::vector<std::uint16_t> patterns(1U << 16U);
  std::iota(patterns.begin(), patterns.end(), std::uint16_t{0});
  for (const DType type : {DType::bf16, DType::f16}) {
    std::vector<double> expected(patterns.size());
    widen(type, reinterpret_cast<const std::byte*>(patterns.data()), expected);
    on_every_warp([&](auto warp) {
      Buffer out(DType::f32, static_cast<Index>(patterns.size()));
      NoStream stream;
      host_device::launch_widen<warp()>(
          stream, {.stored = type, .x = patterns.data(), .out = out.floats(), .count = out.size()});
      const std::vector<double> got = out.values();
      for (std::size_t i = 0; i < got.size(); ++i) {
        if (std::isnan(expected[i])) {
          ASSERT_TRUE(std::isnan(got[i])) << i;
        } else {
          ASSERT_EQ(got[i], expected[i]) << i;
          ASSERT_EQ(std::signbit(got[i]), std::signbit(expected[i])) << i;
        }
      }
    });
  }
}

TEST(WidenKernel, TakesAnyCountAtAnyAddress) {
  on_every_row(2, [](auto warp, Index count, Moved moved) {
    for (const DType type : kStored) {
      Buffer x(type, some_values(count, 5, 10.0), moved(0));
      Buffer out(DType::f32, count, moved(1));
      NoStream stream;
      host_device::launch_widen<warp()>(stream, {.stored = type, .x = x.data(), .out = out.floats(), .count = count});
      EXPECT_EQ(out.values(), x.values()) << name(type);
      EXPECT_TRUE(out.guarded()) << name(type);
    }
  });
}

// ---- nothing, and what cannot be ----

TEST(RowKernels, OfNothingReadNothing) {
  NoStream stream;
  host_device::launch_add_bias<32>(stream, {.width = 8});
  host_device::launch_gather_rows<32>(stream, {.width = 8});
  host_device::launch_gather_rows<32>(stream, {.rows = 8});
  host_device::launch_widen<32>(stream, {});
}

TEST(RowKernels, RefuseATypeThatIsNotStored) {
  NoStream stream;
  const GatherRowsCall gather{.stored = DType::f64, .rows = 1, .width = 8};
  EXPECT_EQ(test::code_of([&] { host_device::launch_gather_rows<32>(stream, gather); }), "backend.failed");
  const WidenCall widen{.stored = DType::f64, .count = 8};
  EXPECT_EQ(test::code_of([&] { host_device::launch_widen<32>(stream, widen); }), "backend.failed");
}

}  // namespace
}  // namespace mlbench::gpu
