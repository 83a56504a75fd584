// Reading an HDF5 file that nobody vouches for.
#include "golden/golden_file.h"

#include <limits>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "golden/hdf5_writer.h"
#include "tests/support/expect_error.h"
#include "tests/support/hdf5_edit.h"
#include "tests/support/temp_dir.h"

namespace mlbench::golden {
namespace {

using test::code_of;
using test::error_of;
using test::TempDir;
using test::write_dataset;
using Integers = std::vector<std::int64_t>;
using Reals = std::vector<double>;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(GoldenFile, ListsAndReadsDatasets) {
  const TempDir dir;
  const std::string path = dir / "golden.h5";
  write_dataset(path, "/a/b.c/real", {2, 3}, Reals{1, 2, 3, 4, 5, 6.5});
  write_dataset(path, "/a/integer", {2}, Integers{-7, std::int64_t{1} << 60U});
  write_dataset(path, "/scalar", {}, Reals{0.1});
  write_dataset(path, "/empty", {0, 3}, Reals{});
  GoldenFile file(path);
  std::vector<std::string> paths;
  for (const DatasetInfo& dataset : file.info().datasets) paths.push_back(dataset.path);
  EXPECT_THAT(paths, ElementsAre("/a/b.c/real", "/a/integer", "/empty", "/scalar"));
  EXPECT_EQ(file.path(), path);
  EXPECT_EQ(file.find("/nothing"), nullptr);
  EXPECT_EQ(file.find("/a"), nullptr);
  EXPECT_EQ(file.read(*file.find("/a/b.c/real")), Tensor<double>({2, 3}, {1, 2, 3, 4, 5, 6.5}));
  EXPECT_EQ(file.read_integers(*file.find("/a/integer")), Tensor<std::int64_t>({2}, {-7, std::int64_t{1} << 60U}));
  EXPECT_EQ(file.read(*file.find("/scalar")).values()[0], 0.1);
  EXPECT_EQ(file.read(*file.find("/empty")).size(), 0);
}

TEST(GoldenFile, TellsTypesApart) {
  const TempDir dir;
  const std::string path = dir / "golden.h5";
  write_dataset(path, "/real", {1}, Reals{1.0});
  write_dataset(path, "/integer", {1}, Integers{1});
  GoldenFile file(path);
  EXPECT_EQ(file.find("/real")->kind, ValueKind::real);
  EXPECT_EQ(file.find("/integer")->kind, ValueKind::integer);
  const Error error = error_of([&] { (void)file.read(*file.find("/integer")); });
  EXPECT_EQ(error.code(), "golden.format");
  EXPECT_THAT(error.message(), HasSubstr("/integer"));
  EXPECT_EQ(code_of([&] { (void)file.read_integers(*file.find("/real")); }), "golden.format");
  EXPECT_EQ(file.read(*file.find("/real")).size(), 1);  // and goes on
}

TEST(GoldenFile, ListsHardLinksAsOneObject) {
  const TempDir dir;
  const std::string path = dir / "golden.h5";
  write_dataset(path, "/a", {1}, Reals{1.0});
  write_dataset(path, "/b", {1}, Reals{1.0});
  test::add_hard_link(path, "/a", "/c/d");
  GoldenFile file(path);
  EXPECT_EQ(file.find("/a")->object, file.find("/c/d")->object);
  EXPECT_NE(file.find("/a")->object, file.find("/b")->object);
  EXPECT_EQ(file.read(*file.find("/c/d")).values()[0], 1.0);
}

TEST(GoldenFile, ReadsAttributesOfTheRoot) {
  GoldenFile file(std::string(MLBENCH_TEST_DATA) + "/schedules-olmo/oracle.h5");
  EXPECT_EQ(file.attribute("architecture"), "OlmoForCausalLM");
  EXPECT_EQ(file.attribute("case"), "schedules-olmo");
  EXPECT_EQ(file.attribute("steps"), "2");
  EXPECT_EQ(file.attribute("nothing"), std::nullopt);
}

TEST(GoldenFile, ReadsAttributesOfGroupsAndDatasets) {
  const TempDir dir;
  {
    Hdf5Writer writer(dir / "golden.h5");
    writer.group("/a");
    writer.attribute("/a", "text", "\xc3\xa9\n");
    writer.group("/a/b");
    writer.dataset("/a/x", {1}, Reals{1.0});
    writer.attribute("/a/x", "number", std::numeric_limits<std::uint64_t>::max());
    writer.finish();
  }
  const GoldenFile file(dir / "golden.h5");
  const std::vector<GroupInfo>& groups = file.info().groups;
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0].path, "/a");
  EXPECT_EQ(groups[0].attributes, (Attributes{{"text", "\xc3\xa9\n"}}));
  EXPECT_EQ(groups[1].path, "/a/b");
  EXPECT_TRUE(groups[1].attributes.empty());
  EXPECT_EQ(file.find("/a/x")->attributes, (Attributes{{"number", "18446744073709551615"}}));
}

// One object of a file may be claimed by any number of attributes; their text is bounded all the same.
TEST(GoldenFile, RefusesAttributesThatAreTooLongInAll) {
  const TempDir dir;
  const std::string path = dir / "golden.h5";
  {
    Hdf5Writer writer(path);
    const std::string text(4U << 20U, 'x');
    for (int i = 0; i < 17; ++i) writer.attribute("/", fmt::format("a{}", i), text);  // of 64 MiB
    writer.finish();
  }
  const Error error = error_of([&] { const GoldenFile file(path); });
  EXPECT_EQ(error.code(), "golden.corrupt");
  EXPECT_THAT(error.message(), HasSubstr(path));
  EXPECT_THAT(error.message(), HasSubstr("attributes"));
}

TEST(GoldenFile, TellsHowManyBytesAreStored) {
  const TempDir dir;
  const std::string path = dir / "golden.h5";
  {
    Hdf5Writer writer(path);
    writer.dataset("/zeros", {100, 100}, Reals(10'000));  // 80 kB, which compress to next to nothing
    writer.finish();
  }
  write_dataset(path, "/plain", {100}, Reals(100));
  test::add_soft_link(path, "/plain", "/soft");
  GoldenFile file(path);
  EXPECT_EQ(file.stored_bytes(*file.find("/plain")), 800U);
  EXPECT_GT(file.stored_bytes(*file.find("/zeros")), 0U);
  EXPECT_LT(file.stored_bytes(*file.find("/zeros")), 1000U);
  EXPECT_EQ(file.stored_bytes(*file.find("/soft")), 0U);
}

TEST(GoldenFile, GivesValuesAgainInAnyOrder) {
  GoldenFile file(std::string(MLBENCH_TEST_DATA) + "/schedules-phi/oracle.h5");
  std::vector<Tensor<double>> first;
  const auto& datasets = file.info().datasets;
  for (const DatasetInfo& dataset : datasets) {
    if (dataset.kind == ValueKind::real) first.push_back(file.read(dataset));
  }
  std::size_t at = first.size();
  for (std::size_t i = datasets.size(); i-- > 0;) {
    if (datasets[i].kind != ValueKind::real) continue;
    EXPECT_EQ(file.read(datasets[i]), first[--at]) << datasets[i].path;
  }
}

TEST(GoldenFile, TwoAtOnceDoNotDisturbEachOther) {
  const std::string data = MLBENCH_TEST_DATA;
  GoldenFile one(data + "/schedules-phi/oracle.h5");
  GoldenFile two(data + "/schedules-olmo/oracle.h5");
  EXPECT_EQ(one.read(*one.find("/prefill/lm_head")).shape(), (Shape{2, 9, 131}));
  EXPECT_EQ(two.read(*two.find("/prefill/lm_head")).shape(), (Shape{2, 8, 109}));
  EXPECT_EQ(one.attribute("architecture"), "PhiForCausalLM");
}

TEST(GoldenFile, RefusesWhatIsNoFileOrNoHdf5) {
  const TempDir dir;
  test::write_file(dir / "text", "not HDF5");
  test::write_file(dir / "empty", "");
  const std::pair<std::string, std::string> cases[] = {{dir / "missing", "file.missing"},
                                                       {dir.path().string(), "file.not_a_file"},
                                                       {"/dev/null", "file.not_a_file"},
                                                       {dir / "text", "golden.corrupt"},
                                                       {dir / "empty", "golden.corrupt"}};
  for (const auto& [path, code] : cases) {
    const Error error = error_of([&p = path] { GoldenFile file(p); });
    EXPECT_EQ(error.code(), code) << path;
    EXPECT_EQ(error.kind(), ErrorKind::request);
    EXPECT_THAT(error.message(), HasSubstr(path));
  }
}

// A shape is only a claim: memory is not given for what a file of this size cannot hold.
TEST(GoldenFile, RefusesShapesThatCannotStandInTheFile) {
  for (const Shape& shape : {Shape{1'000'000'000, 1000}, Shape{std::int64_t{1} << 40U, 1},
                             Shape{std::int64_t{1} << 30U, std::int64_t{1} << 30U}, Shape{10'000'000}}) {
    const TempDir dir;
    const std::string path = dir / "golden.h5";
    write_dataset(path, "/small", {1}, Reals{1.0});
    test::claim_dataset(path, shape, "/prefill/lm_head");
    const Error error = error_of([&] { GoldenFile file(path); });
    EXPECT_EQ(error.code(), "golden.corrupt") << to_string(shape);
    EXPECT_THAT(error.message(), HasSubstr(path));
    EXPECT_THAT(error.message(), HasSubstr("/prefill/lm_head"));
  }
}

// What stands in another file is not this file's: another program could be made to read anything.
TEST(GoldenFile, FollowsNothingOutOfTheFile) {
  const TempDir dir;
  const std::string path = dir / "golden.h5", other = dir / "other.h5", raw = dir / "raw.bin";
  write_dataset(other, "/secret", {4}, Reals{1, 2, 3, 4});
  test::write_file(raw, std::string(32, 'x'));
  write_dataset(path, "/own", {4}, Reals{5, 6, 7, 8});
  test::add_soft_link(path, "/own", "/soft");
  test::add_soft_link(path, "/nowhere", "/dangling");
  test::add_external_link(path, other, "/secret", "/external");
  test::add_external_link(path, dir / "missing.h5", "/secret", "/lost");
  test::add_virtual_dataset(path, other, "/secret", {4}, "/virtual");
  test::add_externally_stored_dataset(path, raw, {4}, "/raw");
  GoldenFile file(path);
  EXPECT_EQ(file.info().datasets.size(), 7U);
  for (const DatasetInfo& dataset : file.info().datasets) {
    if (dataset.path == "/own") continue;
    EXPECT_EQ(dataset.kind, ValueKind::other) << dataset.path;
    EXPECT_EQ(code_of([&] { (void)file.read(dataset); }), "golden.format") << dataset.path;
  }
  EXPECT_EQ(file.read(*file.find("/own")).values()[3], 8.0);
}

TEST(GoldenFile, ListsAnObjectBehindLoopsOnce) {
  const TempDir dir;
  const std::string path = dir / "golden.h5";
  write_dataset(path, "/a/x", {1}, Reals{1.0});
  test::add_hard_link(path, "/", "/a/loop");
  test::add_soft_link(path, "/a", "/a/self");
  GoldenFile file(path);
  EXPECT_LE(file.info().datasets.size(), 3U);
  EXPECT_NE(file.find("/a/x"), nullptr);
}

// Values that are damaged, where the listing is not: only their reading fails. Where values lie is the library's
// business; among many places some are theirs.
TEST(GoldenFile, NamesTheDatasetThatCannotBeRead) {
  const TempDir dir;
  const std::string path = dir / "golden.h5";
  const std::string whole = test::read_file(std::string(MLBENCH_TEST_DATA) + "/schedules-phi/oracle.h5");
  int listed = 0, failed = 0;
  for (std::size_t at = 50'000; at + 16 < whole.size(); at += 100'003) {
    std::string bytes = whole;
    bytes.replace(at, 16, 16, '\x5a');
    test::write_file(path, bytes);
    try {
      GoldenFile file(path);
      ++listed;
      for (const DatasetInfo& dataset : file.info().datasets) {
        if (dataset.kind != ValueKind::real) continue;
        try {
          (void)file.read(dataset);
        } catch (const Error& error) {
          ++failed;
          EXPECT_EQ(error.code(), "golden.corrupt");
          EXPECT_THAT(error.message(), HasSubstr(path));
          EXPECT_THAT(error.message(), HasSubstr("dataset \"" + dataset.path + "\""));
        }
      }
    } catch (const Error& error) {
      EXPECT_THAT(error.message(), HasSubstr(path));
    }
  }
  EXPECT_GT(listed, 0);
  EXPECT_GT(failed, 0);
}

TEST(GoldenFile, NoticesThatTheFileIsGoneAfterItsListing) {
  const TempDir dir;
  const std::string path = dir / "golden.h5";
  write_dataset(path, "/x", {2}, Reals{1.0, 2.0});
  GoldenFile file(path);
  DatasetInfo other = *file.find("/x");
  other.shape = {3};
  EXPECT_EQ(code_of([&] { (void)file.read(other); }), "golden.corrupt");  // not what was listed
}

TEST(GoldenFile, SurvivesNamesThatAreNoText) {
  const TempDir dir;
  const std::string path = dir / "golden.h5";
  write_dataset(path, "/prefill/\xff\xfe\n\"", {1}, Reals{1.0});
  write_dataset(path, "/prefill/\xc3\xa9", {1}, Reals{2.0});
  write_dataset(path, "/plain", {1}, Reals{3.0});
  test::write_attribute(path, "note", "\xff\n");
  GoldenFile file(path);
  EXPECT_EQ(file.info().datasets.size(), 3U);
  EXPECT_EQ(file.read(*file.find("/plain")).values()[0], 3.0);
  EXPECT_EQ(file.read(*file.find("/prefill/\xc3\xa9")).values()[0], 2.0);
  EXPECT_TRUE(file.attribute("note").has_value());
}

}  // namespace
}  // namespace mlbench::golden
