// Writing goldens: what stands in the file, and what is left when writing ends early.
#include "golden/golden_writer.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>

#include "tests/golden/example_golden.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace mlbench::golden {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::example_manifest;
using test::example_values;
using test::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> names_in(const TempDir& dir) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(dir.path())) names.push_back(entry.path().filename().string());
  return names;
}

TEST(GoldenWriter, WritesWhatIsReadAgain) {
  const TempDir dir;
  test::write_example_golden(dir / "golden.h5");
  EXPECT_THAT(names_in(dir), ElementsAre("golden.h5"));
  GoldenFile file(dir / "golden.h5");
  ASSERT_TRUE(is_own_layout(file));
  OwnGolden golden(file);
  EXPECT_EQ(golden.manifest(), example_manifest());
  ASSERT_EQ(golden.steps().size(), 2U);

  const StepInfo& prefill = golden.steps()[0];
  EXPECT_EQ(prefill.index, 0);
  EXPECT_EQ(prefill.method, "prefill");
  EXPECT_EQ(prefill.label, "two prompts");
  EXPECT_EQ(prefill.taps.size(), 3U);
  EXPECT_EQ(prefill.limits.size(), 1U);
  EXPECT_THAT(golden.positions(prefill).values(), ElementsAre(0, 1, 2, 0, 1));
  EXPECT_THAT(golden.sequence(prefill).values(), ElementsAre(0, 0, 0, 1, 1));
  EXPECT_EQ(golden.tap(prefill, "embed"), example_values({5, 8}, 1.0));
  EXPECT_EQ(golden.tap(prefill, "layers.0.attn.q"), example_values({2, 5, 4}, 2.0));
  EXPECT_EQ(golden.tap(prefill, "logits"), example_values({5, 11}, 3.0));
  EXPECT_EQ(golden.limits(prefill, "logits"), example_values({5}, 4.0));

  const StepInfo& decode = golden.steps()[1];
  EXPECT_EQ(decode.method, "batch_decode");
  EXPECT_EQ(decode.label, "");
  EXPECT_EQ(golden.tap(decode, "logits"), example_values({2, 11}, 5.0));
  EXPECT_TRUE(decode.limits.empty());
}

// Sizes around those of a chunk (65536 values), rows longer than one, nothing at all, more than three digits of steps;
// values that no arithmetic would keep.
TEST(GoldenWriter, KeepsEveryShapeAndBit) {
  const TempDir dir;
  const std::vector<Shape> shapes = {{1},        {0},        {0, 4},       {4, 0},      {3, 65535},      {3, 65536},
                                     {2, 65537}, {70000, 1}, {5, 1000, 7}, {2, 200000}, {3, 2, 100, 113}};
  {
    GoldenWriter writer(dir / "golden.h5", {});
    for (const Shape& shape : shapes) {
      Tensor<double> values = example_values(shape, 0.1);
      const double odd[] = {-0.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN(),
                            5e-324};
      for (std::size_t i = 0; i < std::min<std::size_t>(4, values.values().size()); ++i) values.values()[i] = odd[i];
      writer.step("m", "", {}, {}).tap({Tap::up, 12}, values);
    }
    for (std::size_t i = shapes.size(); i < 1002; ++i) (void)writer.step("m", "", {}, {});
    writer.finish();
  }
  GoldenFile file(dir / "golden.h5");
  OwnGolden golden(file);
  ASSERT_EQ(golden.steps().size(), 1002U);
  EXPECT_EQ(golden.steps()[1001].positions->path, "/steps/1001/positions");
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const Tensor<double> values = golden.tap(golden.steps()[i], "layers.12.mlp.up");  // its digest saw every bit
    EXPECT_EQ(values.shape(), shapes[i]);
    EXPECT_EQ(values.size() > 0, values.size() > 0 && std::signbit(values.values()[0]));
  }
}

TEST(GoldenWriter, KeepsLongAndOddTexts) {
  const TempDir dir;
  Manifest manifest = example_manifest();
  manifest.seed = std::numeric_limits<std::uint64_t>::max();
  manifest.plan = std::string(300'000, 'x') + "\n\"\t\\";
  manifest.model = "";
  manifest.weights =
      "a\xff"
      "b";  // a folder's name may be no text
  manifest.dtype = std::string("f64\0rest", 8);
  {
    GoldenWriter writer(dir / "golden.h5", manifest);
    (void)writer.step("m", "l\xfe", {}, {});
    writer.finish();
  }
  GoldenFile file(dir / "golden.h5");
  const OwnGolden golden(file);
  EXPECT_EQ(golden.manifest().seed, manifest.seed);
  EXPECT_EQ(golden.manifest().plan, manifest.plan);
  EXPECT_EQ(golden.manifest().model, "");
  EXPECT_EQ(golden.manifest().weights,
            "a\xef\xbf\xbd"
            "b");
  EXPECT_EQ(golden.manifest().dtype, "f64");
  EXPECT_EQ(golden.steps()[0].label, "l\xef\xbf\xbd");
}

TEST(GoldenWriter, GivesTheSameBytesForTheSameContent) {
  const TempDir dir;
  test::write_example_golden(dir / "one.h5");
  ::sleep(2);  // times in HDF5 files count seconds
  // Other heap contents must not matter either: a large file is written and thrown away in between.
  {
    GoldenWriter other(dir / "other.h5", example_manifest());
    other.step("m", "", {}, {}).tap({Tap::up, 0}, example_values({100, 1000}, 0.0));
  }
  test::write_example_golden(dir / "another-name.h5");
  EXPECT_EQ(test::read_file(dir / "one.h5"), test::read_file(dir / "another-name.h5"));
}

TEST(GoldenWriter, LeavesNothingUnlessItIsFinished) {
  const TempDir dir;
  {
    GoldenWriter writer(dir / "golden.h5", example_manifest());
    test::write_example_steps(writer);
    EXPECT_EQ(names_in(dir).size(), 1U);
    EXPECT_THAT(names_in(dir)[0], ::testing::StartsWith("golden.h5."));
  }
  EXPECT_THAT(names_in(dir), ElementsAre());
}

TEST(GoldenWriter, KeepsTheOldFileUntilTheNewOneIsWhole) {
  const TempDir dir;
  test::write_file(dir / "golden.h5", "old");
  GoldenWriter writer(dir / "golden.h5", example_manifest());
  test::write_example_steps(writer);
  EXPECT_EQ(test::read_file(dir / "golden.h5"), "old");
  writer.finish();
  EXPECT_NE(test::read_file(dir / "golden.h5"), "old");
  EXPECT_THAT(names_in(dir), ElementsAre("golden.h5"));
  const auto mode = fs::status(dir / "golden.h5").permissions();
  test::write_file(dir / "plain", "");
  EXPECT_EQ(mode, fs::status(dir / "plain").permissions());
}

// Runs `act` in a process of its own; its wait status.
template <class Act>
int status_of_child(const Act& act) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    try {
      act();
    } catch (...) {
      ::_exit(99);
    }
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return status;
}

TEST(GoldenWriter, LeavesNothingWhenASignalEndsTheProgram) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const TempDir dir;
    const int status = status_of_child([&] {
      (void)std::signal(signal, SIG_DFL);
      GoldenWriter one(dir / "one.h5", example_manifest());
      GoldenWriter two(dir / "two.h5", example_manifest());
      test::write_example_steps(one);
      if (names_in(dir).size() == 2) (void)std::raise(signal);
    });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << signal << ' ' << status;
    EXPECT_THAT(names_in(dir), ElementsAre());
  }
}

TEST(GoldenWriter, LeavesSignalsToWhoeverHandlesThem) {
  const TempDir dir;
  const int status = status_of_child([&] {
    (void)std::signal(SIGINT, SIG_IGN);
    GoldenWriter writer(dir / "golden.h5", example_manifest());
    (void)std::raise(SIGINT);
    test::write_example_steps(writer);
    writer.finish();
  });
  EXPECT_EQ(status, 0);
  EXPECT_THAT(names_in(dir), ElementsAre("golden.h5"));
}

// A child that a signal ends must not take its parent's file along.
TEST(GoldenWriter, KeepsItsFileWhenAForkedChildIsEnded) {
  const TempDir dir;
  GoldenWriter writer(dir / "golden.h5", example_manifest());
  const int status = status_of_child([] { (void)std::raise(SIGTERM); });
  EXPECT_TRUE(WIFSIGNALED(status));
  test::write_example_steps(writer);
  writer.finish();
  EXPECT_THAT(names_in(dir), ElementsAre("golden.h5"));
}

TEST(GoldenWriter, RefusesPlacesThatTakeNoFile) {
  const TempDir dir;
  for (const std::string& path : {dir / "missing/golden.h5", dir.path().string(), std::string("/dev/full")}) {
    const Error error = error_of([&] { const GoldenWriter writer(path, {}); });
    EXPECT_EQ(error.code(), "file.unwritable");
    EXPECT_EQ(error.kind(), ErrorKind::internal);
    EXPECT_THAT(error.message(), HasSubstr(path));
  }
  EXPECT_THAT(names_in(dir), ElementsAre());
}

// A limit of the file's size stands for a full disk: write() fails in the middle, at any place. The program then ends
// as always, and the HDF5 library has nothing more to say about it.
TEST(GoldenWriter, OnAFullDiskSaysSoInOneLineAndLeavesNothing) {
  const TempDir dir, logs;
  const std::string path = dir / "golden.h5", log = logs / "log";
  const auto write = [&] {
    GoldenWriter writer(path, example_manifest());
    test::write_example_steps(writer);
    writer.step("m", "", {}, {}).tap({Tap::up, 0}, example_values({300, 500}, 0.0));
    writer.finish();
  };
  write();
  const std::uintmax_t size = fs::file_size(path);
  fs::remove(path);
  for (std::uintmax_t limit = 0; limit < size; limit += 1 + size / 64) {
    (void)std::fflush(nullptr);
    test::write_file(log, "");
    const int status = status_of_child([&] {
      if (std::freopen(log.c_str(), "a", stderr) == nullptr) ::_exit(98);
      (void)std::signal(SIGXFSZ, SIG_IGN);
      const rlimit bytes{limit, limit};
      ::setrlimit(RLIMIT_FSIZE, &bytes);
      const Error error = error_of(write);
      const bool right = error.code() == "file.unwritable" && error.kind() == ErrorKind::internal &&
                         error.message().find(path) != std::string::npos &&
                         error.message().find("File too large") != std::string::npos;
      std::exit(right ? 0 : 1);
    });
    EXPECT_EQ(status, 0) << limit;
    EXPECT_EQ(test::read_file(log), "") << limit;
    EXPECT_THAT(names_in(dir), ElementsAre()) << limit;
  }
}

}  // namespace
}  // namespace mlbench::golden
