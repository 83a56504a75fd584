// Files with bytes overwritten at random: each is read, or refused with an error of ours that names it.
#include <random>

#include <gmock/gmock.h>

#include "core/error.h"
#include "golden/hf_layout.h"
#include "tests/support/hdf5_edit.h"
#include "tests/support/temp_dir.h"

namespace mlbench::golden {
namespace {

using test::TempDir;
using Integers = std::vector<std::int64_t>;

std::string damaged(std::string bytes, unsigned seed) {
  std::mt19937 random(seed);
  const std::uint64_t count = 1 + random() % 20;
  // Mostly the first pages, where the library keeps its own data.
  const std::size_t range = random() % 3 == 0 ? bytes.size() : std::min<std::size_t>(bytes.size(), 8192);
  for (std::uint64_t i = 0; i < count; ++i) bytes[random() % range] = static_cast<char>(random());
  return bytes;
}

// Reads whatever can be read. True when nothing failed.
bool read_everything(const std::string& path) {
  GoldenFile file(path);
  bool whole = true;
  const auto attempt = [&](const auto& act) {
    try {
      act();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::request) << error.what();
      EXPECT_NE(error.message().find(path), std::string::npos) << error.what();
      EXPECT_EQ(error.message().find('\n'), std::string::npos) << error.what();
      whole = false;
    }
  };
  attempt([&] { (void)read_hf_layout(file); });
  for (const DatasetInfo& dataset : file.info().datasets) {
    if (dataset.kind == ValueKind::real) attempt([&] { (void)file.read(dataset); });
    if (dataset.kind == ValueKind::integer) attempt([&] { (void)file.read_integers(dataset); });
  }
  return whole;
}

struct Tally {
  int whole = 0, partly = 0, refused = 0;
};

Tally read_damaged(const std::string& bytes, unsigned seeds) {
  const TempDir dir;
  const std::string path = dir / "damaged.h5";
  Tally tally;
  for (unsigned seed = 0; seed < seeds; ++seed) {
    SCOPED_TRACE(seed);
    test::write_file(path, damaged(bytes, seed));
    try {
      ++(read_everything(path) ? tally.whole : tally.partly);
    } catch (const Error& error) {
      ++tally.refused;
      EXPECT_EQ(error.kind(), ErrorKind::request) << error.what();
      EXPECT_NE(error.message().find(path), std::string::npos) << error.what();
      EXPECT_EQ(error.message().find('\n'), std::string::npos) << error.what();
    }
  }
  return tally;
}

// If all were refused, or none, the damage would not reach what is to be tested.
TEST(DamagedFile, OfAFewDatasetsIsReadOrRefused) {
  const TempDir dir;
  const std::string small = dir / "small.h5";
  test::write_dataset(small, "/inputs/prompt_ids", {1, 3}, Integers{1, 2, 3});
  test::write_dataset(small, "/prefill/lm_head", {1, 3, 20}, std::vector<double>(60, 1.0));
  test::write_dataset(small, "/prefill/model.norm", {1, 3, 8}, std::vector<double>(24, 1.0));
  test::add_hard_link(small, "/prefill/lm_head", "/prefill/logits");
  test::write_attribute(small, "architecture", "LlamaForCausalLM");
  const Tally tally = read_damaged(test::read_file(small), 400);
  EXPECT_GT(tally.whole, 0);
  EXPECT_GT(tally.refused, 0);
}

TEST(DamagedFile, OfACaseIsReadOrRefused) {
  const Tally tally = read_damaged(test::read_file(std::string(MLBENCH_TEST_DATA) + "/schedules-phi/oracle.h5"), 60);
  EXPECT_GT(tally.whole + tally.partly, 0);
  EXPECT_GT(tally.refused, 0);
}

TEST(DamagedFile, CutAtEveryLengthIsRefused) {
  const TempDir dir;
  const std::string small = dir / "small.h5", cut = dir / "cut.h5";
  test::write_dataset(small, "/prefill/lm_head", {1, 3, 20}, std::vector<double>(60, 1.0));
  const std::string bytes = test::read_file(small);
  for (std::size_t length = 0; length < bytes.size(); length += 1 + length / 16) {
    test::write_file(cut, bytes.substr(0, length));
    EXPECT_THROW((void)read_everything(cut), Error) << length;
  }
}

}  // namespace
}  // namespace mlbench::golden
