// Digests of shape and values.
#include "golden/digest.h"

#include <limits>

#include <gtest/gtest.h>

namespace mlbench::golden {
namespace {

// The numbers come from a program of a few lines in another language, written from the layout's description:
//   h = 0xcbf29ce484222325
//   for b in struct.pack("<q2q6d", 2, 2, 3, *values): h = (h ^ b) * 0x100000001b3 % 2**64
TEST(Digest, IsFnv1aOfRankDimensionsAndValues) {
  EXPECT_EQ(digest_of(Tensor<double>({2, 3}, {1.0, -2.0, 0.5, 0.0, 1e300, 0.1})), "bebcfb9d94fbee81");
  EXPECT_EQ(digest_of(Tensor<std::int64_t>({3}, {1, -1, std::int64_t{1} << 40U})), "b23ffeba4d50c6e9");
  EXPECT_EQ(digest_of(Tensor<double>({}, std::vector<double>{1.0})), "85c9d0b95f02e858");
  EXPECT_EQ(digest_of(Tensor<double>(Shape{0, 3})), "72313d335a421964");
}

TEST(Digest, TellsShapesOfTheSameValuesApart) {
  const std::vector<double> values{1, 2, 3, 4, 5, 6};
  const std::string digest = digest_of(Tensor<double>({2, 3}, values));
  for (const Shape& other : {Shape{3, 2}, Shape{6}, Shape{1, 2, 3}, Shape{2, 3, 1}})
    EXPECT_NE(digest_of(Tensor<double>(other, values)), digest) << to_string(other);
}

TEST(Digest, SeesEveryBit) {
  const Tensor<double> values({3}, {1.0, 0.0, -3.5});
  const std::string digest = digest_of(values);
  for (std::size_t at = 0; at < 24; ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      Tensor<double> changed = values;
      reinterpret_cast<unsigned char*>(changed.data())[at] ^= static_cast<unsigned char>(1U << bit);
      EXPECT_NE(digest_of(changed), digest) << at << ' ' << bit;
    }
  }
}

TEST(Digest, TellsZerosOfTwoSignsAndNansApart) {
  const auto of = [](double value) { return digest_of(Tensor<double>({1}, {value})); };
  EXPECT_NE(of(0.0), of(-0.0));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_NE(of(nan), of(-nan));
  EXPECT_EQ(of(nan), of(nan));
}

}  // namespace
}  // namespace mlbench::golden
