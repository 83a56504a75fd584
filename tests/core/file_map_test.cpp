#include "core/file_map.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace mlbench {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using ::testing::HasSubstr;

std::string text_of(const FileMap& map) {
  return {reinterpret_cast<const char*>(map.bytes().data()), map.bytes().size()};
}

class Files : public ::testing::Test {
 protected:
  [[nodiscard]] std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(dir_.path()), fs::directory_iterator()));
  }
  test::TempDir dir_;
};

TEST_F(Files, AMapShowsTheFilesBytes) {
  const std::string bytes("a\0b\xFF", 4);
  test::write_file(dir_ / "f", bytes);
  EXPECT_EQ(text_of(FileMap(dir_ / "f")), bytes);
}

TEST_F(Files, AnEmptyFileIsAnEmptyMap) {
  test::write_file(dir_ / "f", "");
  EXPECT_TRUE(FileMap(dir_ / "f").bytes().empty());
  EXPECT_EQ(read_text_file(dir_ / "f", 10), "");
}

TEST_F(Files, AMapCanBeMoved) {
  test::write_file(dir_ / "a", "first");
  test::write_file(dir_ / "b", "second");
  FileMap a(dir_ / "a");
  FileMap moved(std::move(a));
  EXPECT_EQ(text_of(moved), "first");
  moved = FileMap(dir_ / "b");
  EXPECT_EQ(text_of(moved), "second");
}

TEST_F(Files, WhatIsNotAFileIsNamed) {
  ASSERT_EQ(::mkfifo((dir_ / "pipe").c_str(), 0600), 0);  // opening it would wait for a writer
  test::write_file(dir_ / "plain", "x");
  const struct {
    std::string path, code;
  } cases[] = {{dir_ / "nothing", "file.missing"},
               {dir_ / "plain/below", "file.missing"},
               {dir_.path().string(), "file.not_a_file"},
               {dir_ / "pipe", "file.not_a_file"}};
  for (const auto& bad : cases) {
    const std::string& path = bad.path;
    const auto check = [&](const Error& error) {
      EXPECT_EQ(error.code(), bad.code) << path;
      EXPECT_EQ(error.kind(), ErrorKind::request) << path;
      EXPECT_THAT(error.message(), HasSubstr(path));
    };
    check(error_of([&] { FileMap map(path); }));
    check(error_of([&] { (void)read_text_file(path, 10); }));
    check(error_of([&] { require_regular_file(path); }));
  }
  EXPECT_NO_THROW(require_regular_file(dir_ / "plain"));
}

TEST_F(Files, TextBeyondTheLimitIsNotRead) {
  test::write_file(dir_ / "f", "12345");
  EXPECT_EQ(read_text_file(dir_ / "f", 5), "12345");
  const Error error = error_of([&] { (void)read_text_file(dir_ / "f", 4); });
  EXPECT_EQ(error.code(), "file.too_large");
  EXPECT_THAT(error.message(), HasSubstr(dir_ / "f"));
}

TEST_F(Files, WritingReplacesAFileAndLeavesNothingBeside) {
  write_file_whole(dir_ / "f", "old");
  write_file_whole(dir_ / "f", "new, and longer");
  EXPECT_EQ(test::read_file(dir_ / "f"), "new, and longer");
  EXPECT_EQ(entries(), 1U);
  write_file_whole(dir_ / "f", "");
  EXPECT_EQ(test::read_file(dir_ / "f"), "");
}

TEST_F(Files, AWrittenFileGetsTheModeOfAnyNewFile) {
  const mode_t mask = ::umask(027);
  write_file_whole(dir_ / "f", "x");
  ::umask(mask);
  struct stat status {};
  ASSERT_EQ(::stat((dir_ / "f").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0640U);
}

TEST_F(Files, WritingIntoAMissingFolderFailsByName) {
  const Error error = error_of([&] { write_file_whole(dir_ / "no/f", "x"); });
  EXPECT_EQ(error.code(), "file.unwritable");
  EXPECT_EQ(error.kind(), ErrorKind::internal);
  EXPECT_THAT(error.message(), HasSubstr(dir_ / "no/f"));
  EXPECT_EQ(entries(), 0U);
}

TEST_F(Files, WritingOverAFolderFailsAndLeavesNothingBeside) {
  fs::create_directory(dir_ / "folder");
  EXPECT_EQ(error_of([&] { write_file_whole(dir_ / "folder", "x"); }).code(), "file.unwritable");
  EXPECT_TRUE(fs::is_directory(dir_ / "folder"));
  EXPECT_EQ(entries(), 1U);
}

TEST_F(Files, WhereNothingCanBeWrittenIsToldBeforehand) {
  for (const std::string& path : {dir_ / "no/f", dir_ / "."}) {
    const Error error = error_of([&] { require_writable(path); });
    EXPECT_EQ(error.code(), "file.unwritable");
    EXPECT_THAT(error.message(), HasSubstr(path));
  }
  for (const std::string& path : {dir_ / "f", std::string("f"), std::string("/dev/null")})
    EXPECT_NO_THROW(require_writable(path)) << path;
  EXPECT_EQ(entries(), 0U);
}

// The process's own limit on file sizes fails a write as a full disk does, in the middle.
TEST_F(Files, WhenWritingFailsHalfwayTheOldFileStays) {
  write_file_whole(dir_ / "f", "old");
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  struct rlimit small = before;
  small.rlim_cur = 4096;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);  // the failing write then returns an error
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Error error = error_of([&] { write_file_whole(dir_ / "f", std::string(10000, 'n')); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(error.code(), "file.unwritable");
  EXPECT_EQ(test::read_file(dir_ / "f"), "old");
  EXPECT_EQ(entries(), 1U);
}

// A report sent to /dev/null or into a pipe goes there; a file put in its place would break the machine.
TEST_F(Files, WritingToAPipeFillsItAndDoesNotReplaceIt) {
  ASSERT_EQ(::mkfifo((dir_ / "pipe").c_str(), 0600), 0);
  const int reader = ::open((dir_ / "pipe").c_str(), O_RDONLY | O_NONBLOCK);  // so that opening to write succeeds
  ASSERT_GE(reader, 0);
  write_file_whole(dir_ / "pipe", "text");
  char got[8] = {};
  EXPECT_EQ(::read(reader, got, sizeof got), 4);
  ::close(reader);
  EXPECT_STREQ(got, "text");
  EXPECT_TRUE(fs::is_fifo(dir_ / "pipe"));
  EXPECT_EQ(entries(), 1U);
}

TEST_F(Files, AFullDeviceIsAnError) {
  fs::create_symlink("/dev/full", dir_ / "full");  // through a link, so that a mistake here replaces only the link
  EXPECT_EQ(error_of([&] { write_file_whole(dir_ / "full", "text"); }).code(), "file.unwritable");
  EXPECT_TRUE(fs::is_symlink(dir_ / "full"));
}

}  // namespace
}  // namespace mlbench
