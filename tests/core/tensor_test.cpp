#include "core/tensor.h"

#include <gmock/gmock.h>

namespace mlbench {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

TEST(Shapes, CountTheirElements) {
  EXPECT_EQ(element_count({}), 1);
  EXPECT_EQ(element_count({2, 3, 4}), 24);
  EXPECT_EQ(element_count({2, 0, 4}), 0);
  EXPECT_EQ(to_string(Shape{2, 3}), "[2, 3]");
  EXPECT_EQ(to_string(Shape{}), "[]");
}

TEST(Tensor, IsRowMajorWithTheLastAxisAsRow) {
  Tensor<double> t({2, 2, 3}, std::vector<double>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  EXPECT_EQ(t.rows(), 4);
  EXPECT_EQ(t.cols(), 3);
  EXPECT_EQ(t.dim(1), 2);
  EXPECT_EQ(t.size(), 12);
  EXPECT_THAT(t.row(2), ElementsAre(6, 7, 8));
  t.row(2)[1] = -1.0;
  EXPECT_EQ(t.values()[7], -1.0);
}

TEST(Tensor, StartsFilled) {
  EXPECT_THAT(Tensor<float>({2, 2}).values(), Each(0.0F));
  EXPECT_THAT(Tensor<int>({3}, 7).values(), ElementsAre(7, 7, 7));
}

TEST(Tensor, WithoutValuesHasNoRows) {
  const Tensor<double> t({4, 0});
  EXPECT_EQ(t.rows(), 0);
  EXPECT_EQ(t.size(), 0);
}

TEST(Tensor, KeepsItsValuesUnderAnotherShape) {
  const Tensor<int> t({2, 3}, std::vector<int>{0, 1, 2, 3, 4, 5});
  const Tensor<int> reshaped = t.reshaped({3, 2});
  EXPECT_EQ(reshaped.shape(), (Shape{3, 2}));
  EXPECT_THAT(reshaped.row(1), ElementsAre(2, 3));
  EXPECT_NE(reshaped, t) << "the shape is part of the value";
  EXPECT_EQ(reshaped.reshaped({2, 3}), t);
}

}  // namespace
}  // namespace mlbench
