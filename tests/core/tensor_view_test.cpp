// Tensors of any storage type in host memory: what goes in comes out, rounded once.
#include "core/tensor_view.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>

namespace mlbench {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

constexpr DType kTypes[] = {DType::f64, DType::f32, DType::bf16, DType::f16};

// Exact in every type.
const Tensor<double> kExact({2, 3}, {1.0, -0.5, 0.0, 240.0, -3.25, 0x1p-14});

TEST(HostTensor, GivesBackWhatEveryTypeCanHold) {
  for (const DType type : kTypes) {
    const HostTensor tensor(type, kExact);
    EXPECT_EQ(tensor.dtype(), type);
    EXPECT_EQ(tensor.shape(), kExact.shape());
    EXPECT_EQ(tensor.bytes().size(), 6 * size_bytes(type)) << name(type);
    EXPECT_EQ(tensor.widened(), kExact) << name(type);
    EXPECT_EQ(HostTensor(type, tensor.widened()), tensor) << name(type);
  }
}

TEST(HostTensor, KeepsTheSignOfZeroAndNumbersThatAreNone) {
  const double inf = std::numeric_limits<double>::infinity();
  for (const DType type : kTypes) {
    const Tensor<double> out = HostTensor(type, Tensor<double>({4}, {-0.0, inf, -inf, std::nan("")})).widened();
    EXPECT_TRUE(std::signbit(out.values()[0])) << name(type);
    EXPECT_EQ(out.values()[1], inf) << name(type);
    EXPECT_EQ(out.values()[2], -inf) << name(type);
    EXPECT_TRUE(std::isnan(out.values()[3])) << name(type);
  }
}

// 1 + half a step lies between 1 and 1 + step: the even one is 1; 1 + 3/2 steps goes up to 1 + 2 steps.
TEST(HostTensor, RoundsToNearestWithTiesToEven) {
  for (const auto& [type, step] : {std::pair{DType::f32, 0x1p-23}, {DType::bf16, 0x1p-7}, {DType::f16, 0x1p-10}}) {
    const Tensor<double> between({4}, {1.0 + step / 2, 1.0 + 1.5 * step, 1.0 + 0.51 * step, -1.0 - 0.49 * step});
    EXPECT_THAT(HostTensor(type, between).widened().values(), ElementsAre(1.0, 1.0 + 2 * step, 1.0 + step, -1.0))
        << name(type);
  }
}

TEST(HostTensor, StartsWithZeros) {
  for (const DType type : kTypes) {
    EXPECT_THAT(HostTensor(type, Shape{2, 2}).widened().values(), Each(0.0)) << name(type);
  }
}

TEST(HostTensor, KeepsItsBytesUnderAnotherShape) {
  HostTensor tensor(DType::bf16, kExact);
  const std::byte* data = tensor.view().data;
  const HostTensor reshaped = std::move(tensor).reshaped({3, 2});
  EXPECT_EQ(reshaped.shape(), (Shape{3, 2}));
  EXPECT_EQ(reshaped.view().data, data) << "nothing is copied";
  EXPECT_EQ(reshaped.widened(), kExact.reshaped({3, 2}));
}

TEST(HostTensor, IsEqualInTypeShapeAndBits) {
  const HostTensor tensor(DType::f16, kExact);
  EXPECT_EQ(tensor, HostTensor(DType::f16, kExact));
  EXPECT_NE(tensor, HostTensor(DType::bf16, kExact)) << "another type";
  EXPECT_NE(tensor, HostTensor(DType::f16, kExact).reshaped({3, 2})) << "another shape";
  Tensor<double> other = kExact;
  other.values()[5] = 0x1.004p-14;
  EXPECT_NE(tensor, HostTensor(DType::f16, other)) << "another value";
  Tensor<double> negative = kExact;
  negative.values()[2] = -0.0;
  EXPECT_NE(tensor, HostTensor(DType::f16, negative)) << "another zero";
}

TEST(TensorView, WritesIntoWhatItShows) {
  HostTensor tensor(DType::f32, Shape{2});
  const TensorView view = tensor.view();
  narrow(view.dtype, std::vector<double>{1.5, -2.0}, view.data);
  EXPECT_THAT(tensor.widened().values(), ElementsAre(1.5, -2.0));
  const ConstTensorView constant = view;
  EXPECT_EQ(constant.data, view.data);
  EXPECT_EQ(widened(constant), tensor.widened());
}

TEST(TensorView, MayStandAtAnyAlignment) {
  for (const DType type : kTypes) {
    std::vector<std::byte> bytes(1 + 6 * size_bytes(type));
    narrow(type, kExact.values(), bytes.data() + 1);
    EXPECT_EQ(widened({type, kExact.shape(), bytes.data() + 1}), kExact) << name(type);
  }
}

TEST(TensorView, OfNoValuesHasNone) {
  EXPECT_EQ(widened({DType::bf16, {0, 4}, nullptr}).size(), 0);
  EXPECT_TRUE(HostTensor(DType::bf16, Shape{4, 0}).bytes().empty());
}

}  // namespace
}  // namespace mlbench
