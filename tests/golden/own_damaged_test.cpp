// Goldens of ours with bytes changed or cut off: read as they were written, or refused in one line; never other values.
#include <algorithm>
#include <random>

#include <gmock/gmock.h>

#include "core/error.h"
#include "golden/own_layout.h"
#include "tests/golden/example_golden.h"
#include "tests/support/temp_dir.h"

namespace mlbench::golden {
namespace {

using test::TempDir;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Tally {
  int whole = 0, digest = 0, corrupt = 0;
};

void expect_one_line_about(const std::string& path, const Error& error) {
  EXPECT_EQ(error.kind(), ErrorKind::request) << error.what();
  EXPECT_THAT(error.message(), HasSubstr(path));
  EXPECT_EQ(error.message().find('\n'), std::string::npos) << error.what();
}

// Reads every tap. `expected` holds their values in order.
void read_all(const std::string& path, const std::vector<Tensor<double>>& expected, Tally& tally) {
  GoldenFile file(path);
  OwnGolden golden(file);
  std::size_t at = 0;
  for (const StepInfo& step : golden.steps()) {
    for (const auto& [tap, dataset] : step.taps) {
      ASSERT_LT(at, expected.size());
      const Tensor<double>& right = expected[at++];
      try {
        EXPECT_EQ(golden.tap(step, tap), right) << dataset->path;
        ++tally.whole;
      } catch (const Error& error) {
        expect_one_line_about(path, error);
        EXPECT_THAT(error.what(), AnyOf(StartsWith("golden.digest"), StartsWith("golden.corrupt")));
        ++(error.code() == "golden.digest" ? tally.digest : tally.corrupt);
        EXPECT_THAT(error.message(), HasSubstr("\"" + dataset->path + "\""));
      }
    }
  }
  EXPECT_EQ(at, expected.size());
}

// In the order of reading: by step, and by name in it.
std::vector<Tensor<double>> example_taps() {
  return {test::example_values({5, 8}, 1.0), test::example_values({2, 5, 4}, 2.0), test::example_values({5, 11}, 3.0),
          test::example_values({2, 11}, 5.0)};
}

TEST(DamagedOwnGolden, GivesTheValuesThatWereWrittenOrNone) {
  const TempDir dir;
  const std::string path = dir / "golden.h5";
  test::write_example_golden(path);
  const std::string whole = test::read_file(path);
  Tally tally;
  int refused = 0;
  const std::size_t places = 200;
  std::mt19937 random(1);
  for (std::size_t i = 0; i < places; ++i) {
    const std::size_t at = i * whole.size() / places;
    SCOPED_TRACE(at);
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ static_cast<char>(1 + random() % 255));
    test::write_file(path, bytes);
    try {
      read_all(path, example_taps(), tally);
    } catch (const Error& error) {
      expect_one_line_about(path, error);
      ++refused;
    }
  }
  EXPECT_GT(tally.whole, 0);
  EXPECT_GT(tally.corrupt + tally.digest, 0);
  EXPECT_GT(refused, 0);
}

// Every byte of a tap's compressed values: where one lies is told by its being found in the file.
TEST(DamagedOwnGolden, NoticesAnyByteOfATapsData) {
  const TempDir dir;
  const std::string path = dir / "golden.h5";
  const Tensor<double> values = test::example_values({40, 50}, 0.0);  // 16 kB: most of the file
  {
    GoldenWriter writer(path, test::example_manifest());
    writer.step("m", "", {}, {}).tap({Tap::up, 3}, values);
    writer.finish();
  }
  const std::string whole = test::read_file(path);
  const std::size_t data = whole.find("\x78\x01");  // a zlib stream of level 1
  ASSERT_NE(data, std::string::npos);
  Tally tally;
  int refused = 0;
  for (std::size_t at = data; at < data + 12'000; at += 61) {
    SCOPED_TRACE(at);
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ static_cast<char>(1U << (at % 8)));
    test::write_file(path, bytes);
    try {
      read_all(path, {values}, tally);
    } catch (const Error& error) {
      ++refused;
    }
  }
  EXPECT_EQ(refused, 0);  // the listing is not touched
  EXPECT_EQ(tally.whole, 0);
  EXPECT_GT(tally.corrupt + tally.digest, 100);
}

TEST(DamagedOwnGolden, CutAtAnyLengthIsRefused) {
  const TempDir dir;
  const std::string path = dir / "golden.h5", cut = dir / "cut.h5";
  test::write_example_golden(path);
  const std::string whole = test::read_file(path);
  for (std::size_t length = 0; length < whole.size(); length += 1 + std::min(length / 16, whole.size() / 40)) {
    SCOPED_TRACE(length);
    test::write_file(cut, whole.substr(0, length));
    try {
      Tally tally;
      read_all(cut, example_taps(), tally);
      ADD_FAILURE() << "was read";
    } catch (const Error& error) {
      expect_one_line_about(cut, error);
      EXPECT_EQ(error.code(), "golden.corrupt");
    }
  }
}

}  // namespace
}  // namespace mlbench::golden
