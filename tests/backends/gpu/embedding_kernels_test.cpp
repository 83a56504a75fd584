#include "backends/gpu/kernels/embedding.h"

#include "tests/backends/gpu/kernel_test.h"

namespace mlbench::gpu {
namespace {

using test::Buffer;
using test::float_sum;
using test::kStored;
using test::Moved;
using test::NoStream;
using test::on_every_row;
using test::on_every_warp;
using test::some_values;

constexpr Index kTable = 5;
const std::vector<std::int32_t> kChosen = {4, 0, 0, 3};
constexpr Index kRows = 4;

// Rows of the table, widened.
std::vector<double> chosen_rows(const Buffer& table, Index width) {
  const std::vector<double> values = table.values();
  std::vector<double> out;
  for (const std::int32_t row : kChosen) {
    out.insert(out.end(), values.begin() + row * width, values.begin() + (row + 1) * width);
  }
  return out;
}

TEST(EmbedKernel, GivesRowsOfTheTableExactly) {
  on_every_row(2, [](auto warp, Index width, Moved moved) {
    for (const DType type : kStored) {
      Buffer table(type, some_values(kTable * width, 1, 3.0), moved(0));
      Buffer out(DType::f32, kRows * width, moved(1));
      NoStream stream;
      host_device::launch_embed<warp()>(stream, {.stored = type,
                                                 .table = table.data(),
                                                 .ids = kChosen.data(),
                                                 .out = out.floats(),
                                                 .rows = kRows,
                                                 .width = width});
      EXPECT_EQ(out.values(), chosen_rows(table, width)) << name(type);
      EXPECT_TRUE(out.guarded()) << name(type);
    }
  });
}

TEST(EmbedKernel, KeepsInfinitiesAndNotANumber) {
  on_every_warp([](auto warp) {
    for (const DType type : kStored) {
      Buffer table(type, {test::kInfinity, -test::kInfinity, test::kNan, -0.0});
      Buffer out(DType::f32, 4);
      const std::int32_t id = 0;
      NoStream stream;
      host_device::launch_embed<warp()>(
          stream, {.stored = type, .table = table.data(), .ids = &id, .out = out.floats(), .rows = 1, .width = 4});
      EXPECT_EQ(out.values()[0], test::kInfinity);
      EXPECT_EQ(out.values()[1], -test::kInfinity);
      EXPECT_TRUE(std::isnan(out.floats()[2]));
      EXPECT_TRUE(out.floats()[3] == 0.0F && std::signbit(out.floats()[3]));
    }
  });
}

TEST(AddPositionsKernel, AddsOnceAndTellsWhatItAdded) {
  on_every_row(3, [](auto warp, Index width, Moved moved) {
    const std::vector<double> before = some_values(kRows * width, 3, 2.0);
    for (const DType type : kStored) {
      SCOPED_TRACE(name(type));
      Buffer table(type, some_values(kTable * width, 2, 3.0), moved(0));
      for (const bool wanted : {false, true}) {
        Buffer x = test::floats(before, moved(1));
        Buffer added(DType::f32, kRows * width, moved(2));
        NoStream stream;
        host_device::launch_add_positions<warp()>(stream, {.stored = type,
                                                           .table = table.data(),
                                                           .positions = kChosen.data(),
                                                           .x = x.floats(),
                                                           .added = wanted ? added.floats() : nullptr,
                                                           .rows = kRows,
                                                           .width = width});
        const std::vector<double> rows = chosen_rows(table, width);
        EXPECT_EQ(x.values(), float_sum(before, rows));
        EXPECT_TRUE(x.guarded());
        EXPECT_EQ(added.bytes(),
                  wanted ? test::rounded_bytes(DType::f32, rows) : Buffer(DType::f32, kRows * width).bytes());
        EXPECT_TRUE(added.guarded());
      }
    }
  });
}

TEST(EmbeddingKernels, OfNoRowsReadNothing) {
  NoStream stream;
  host_device::launch_embed<32>(stream, {.width = 8});
  host_device::launch_add_positions<32>(stream, {.width = 8});
}

TEST(EmbeddingKernels, RefuseATypeThatIsNotStored) {
  NoStream stream;
  const EmbedCall embed{.stored = DType::f64, .rows = 1, .width = 8};
  EXPECT_EQ(test::code_of([&] { host_device::launch_embed<32>(stream, embed); }), "backend.failed");
  const AddPositionsCall add{.stored = DType::f64, .rows = 1, .width = 8};
  EXPECT_EQ(test::code_of([&] { host_device::launch_add_positions<32>(stream, add); }), "backend.failed");
}

}  // namespace
}  // namespace mlbench::gpu
