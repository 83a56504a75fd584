// Memory that tells what a backend did to it.
#include "harness/guarded.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <gmock/gmock.h>

#include "reference/tensor.h"

namespace mlbench::harness {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<Finding> findings_of(const GuardedTensor& tensor, Index expected = -1) {
  std::vector<Finding> out;
  tensor.check(
      "here", [&](Finding finding) { out.push_back(std::move(finding)); }, expected);
  return out;
}

std::vector<std::string> codes_of(const GuardedTensor& tensor, Index expected = -1) {
  std::vector<std::string> out;
  for (const Finding& finding : findings_of(tensor, expected)) out.push_back(finding.code);
  return out;
}

HostTensor numbers(DType dtype) {
  ref::Tensor values(Shape{3, 5});
  for (std::size_t i = 0; i < values.values().size(); ++i) values.values()[i] = 0.5 * static_cast<double>(i) - 2.0;
  return {dtype, values};
}

void write(const HostTensor& from, GuardedTensor& to) { std::ranges::copy(from.bytes(), to.view().data); }

class EveryTypesMemory : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(, EveryTypesMemory, ::testing::Values(DType::f64, DType::f32, DType::bf16, DType::f16),
                         [](const auto& type) { return std::string(name(type.param)); });

TEST_P(EveryTypesMemory, SaysNothingOfACorrectCall) {
  const GuardedTensor input(numbers(GetParam()));
  EXPECT_THAT(codes_of(input), IsEmpty());
  EXPECT_EQ(input.values(), numbers(GetParam()));
  GuardedTensor output(GetParam(), Shape{3, 5});
  write(numbers(GetParam()), output);
  EXPECT_THAT(codes_of(output), IsEmpty());
  EXPECT_EQ(output.values(), numbers(GetParam()));
}

TEST_P(EveryTypesMemory, StandsWhereVectorsMayBeRead) {
  GuardedTensor output(GetParam(), Shape{3, 5});
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(output.view().data) % 64, 0U);
}

// Numbers that are none are what an output is filled with: a backend that reads it shows that too.
TEST_P(EveryTypesMemory, IsFullOfNoNumbers) {
  const GuardedTensor output(GetParam(), Shape{3, 5});
  const ref::Tensor seen = output.values().widened();
  for (const double value : seen.values()) EXPECT_TRUE(std::isnan(value));
}

TEST_P(EveryTypesMemory, ShowsOneByteWrittenBesideIt) {
  const auto size = static_cast<std::ptrdiff_t>(15 * size_bytes(GetParam()));
  for (const bool input : {true, false}) {
    for (const std::ptrdiff_t at : {std::ptrdiff_t{-1}, std::ptrdiff_t{-512}, size, size + 511}) {
      GuardedTensor tensor = input ? GuardedTensor(numbers(GetParam())) : GuardedTensor(GetParam(), Shape{3, 5});
      write(numbers(GetParam()), tensor);
      tensor.view().data[at] = std::byte{0x5a};
      const std::vector<Finding> findings = findings_of(tensor);
      ASSERT_EQ(findings.size(), 1U) << at;
      EXPECT_EQ(findings[0].code, "memory.canary");
      EXPECT_EQ(findings[0].where, "here");
      EXPECT_THAT(findings[0].text, HasSubstr(at < 0 ? "before" : "behind")) << at;
    }
  }
}

TEST_P(EveryTypesMemory, ShowsAChangedInput) {
  for (const std::size_t byte : {std::size_t{0}, 15 * size_bytes(GetParam()) - 1}) {
    GuardedTensor input(numbers(GetParam()));
    input.view().data[byte] ^= std::byte{1};
    EXPECT_EQ(codes_of(input), std::vector<std::string>{"memory.input"});
  }
}

TEST_P(EveryTypesMemory, NamesTheFirstElementThatWasNotWritten) {
  const HostTensor values = numbers(GetParam());
  const std::size_t width = size_bytes(GetParam());
  for (const std::size_t left_out : {std::size_t{0}, std::size_t{7}, std::size_t{14}}) {
    GuardedTensor output(GetParam(), Shape{3, 5});
    for (std::size_t i = 0; i < 15 * width; ++i) {
      if (i / width != left_out) output.view().data[i] = values.bytes()[i];
    }
    const std::vector<Finding> findings = findings_of(output);
    ASSERT_EQ(findings.size(), 1U);
    EXPECT_EQ(findings[0].code, "memory.unwritten");
    EXPECT_EQ(findings[0].text, "1 of 15 elements were not written, the first is [" + std::to_string(left_out) + "]");
  }
}

TEST_P(EveryTypesMemory, MayStayUnwrittenInRowsOfPadding) {
  const HostTensor values = numbers(GetParam());
  GuardedTensor output(GetParam(), Shape{3, 5});
  std::copy_n(values.bytes().begin(), 10 * size_bytes(GetParam()), output.view().data);
  EXPECT_THAT(codes_of(output, 10), IsEmpty());
  EXPECT_EQ(codes_of(output, 11), std::vector<std::string>{"memory.unwritten"});
  output.view().data[15 * size_bytes(GetParam())] = std::byte{0};  // beyond the padding is beyond the buffer
  EXPECT_EQ(codes_of(output, 10), std::vector<std::string>{"memory.canary"});
}

TEST(GuardedMemory, TellsAllThatHappenedToIt) {
  GuardedTensor output(DType::f32, Shape{4});
  output.view().data[-3] = std::byte{0};
  EXPECT_EQ(codes_of(output), (std::vector<std::string>{"memory.canary", "memory.unwritten"}));
}

TEST(GuardedMemory, OfNoElementsIsGuardedToo) {
  GuardedTensor output(DType::f32, Shape{0, 8});
  EXPECT_THAT(codes_of(output), IsEmpty());
  *output.view().data = std::byte{0};
  EXPECT_EQ(codes_of(output), std::vector<std::string>{"memory.canary"});
}

TEST(GuardedMemory, IsNotLookedAtWhereNobodyAsks) {
  const GuardedTensor output(DType::f32, Shape{4});
  EXPECT_NO_THROW(output.check("here", nullptr));
}

}  // namespace
}  // namespace mlbench::harness
