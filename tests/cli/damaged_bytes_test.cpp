// Goldens with bytes overwritten at random: whatever they say, the program ends in order and says so in a few lines.
#include <random>

#include <gmock/gmock.h>

#include "tests/cli/case_copy.h"
#include "tests/support/hdf5_edit.h"

namespace mlbench::test {
namespace {

std::string damaged(std::string bytes, unsigned seed) {
  std::mt19937 random(seed);
  const std::uint64_t count = 1 + random() % 20;
  // Mostly the first pages, where the library keeps its own data.
  const std::size_t range = random() % 3 == 0 ? bytes.size() : std::min<std::size_t>(bytes.size(), 8192);
  for (std::uint64_t i = 0; i < count; ++i) bytes[random() % range] = static_cast<char>(random());
  return bytes;
}

// How many of the files were good enough to be compared.
unsigned expect_orderly_end(const std::string& bytes, const std::string& path, unsigned seeds) {
  unsigned compared = 0, refused = 0;
  for (unsigned seed = 0; seed < seeds; ++seed) {
    SCOPED_TRACE(seed);
    write_file(path, damaged(bytes, seed));
    const Outcome run = run_program(verify_arguments(case_folder("gptbigcode"), path));
    EXPECT_GE(run.exit_code, 0);
    EXPECT_LE(run.exit_code, 2) << run.err;
    EXPECT_LE(lines_of(run.err).size(), 1U) << run.err;
    if (run.exit_code == 2) expect_refused(run, path);
    ++(run.exit_code == 2 ? refused : compared);
  }
  EXPECT_GT(refused, 0U);
  return compared;
}

// Nearly every byte of a case is metadata with checksums, or compressed: hardly any damage goes unnoticed.
TEST(DamagedGolden, OfACaseEndsInOrder) {
  const TempDir dir;
  (void)expect_orderly_end(read_file(case_folder("gptbigcode") + "/oracle.h5"), dir / "damaged.h5", 30);
}

TEST(DamagedGolden, OfAFewDatasetsEndsInOrder) {
  const TempDir dir;
  const std::string small = dir / "small.h5";
  write_dataset(small, "/inputs/prompt_ids", {1, 3}, std::vector<std::int64_t>{1, 2, 3});
  write_dataset(small, "/prefill/lm_head", {1, 3, 103}, std::vector<double>(3 * 103, 1.0));
  EXPECT_GT(expect_orderly_end(read_file(small), dir / "damaged.h5", 60), 0U);
}

}  // namespace
}  // namespace mlbench::test
