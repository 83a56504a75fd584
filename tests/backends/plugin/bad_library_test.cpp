// What is no plug-in, or one that cannot be used, is refused in one line that names the file, what it has, and what is
// needed; the same in this process and in one of its own.
#include <gmock/gmock.h>

#include "core/error.h"
#include "tests/backends/plugin/plugins.h"
#include "tests/support/temp_dir.h"

namespace mlbench::plugin::test {
namespace {

using mlbench::test::TempDir;
using mlbench::test::write_file;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string refusal(const std::string& library, const OpenOptions& options) {
  try {
    (void)open_plugin(library, options);
    return "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unavailable) << error.what();
    return error.what();
  }
}

void expect_refused(const std::string& library, const testing::Matcher<std::string>& says) {
  for (const OpenOptions& options : {OpenOptions{.in_process = true, .process = {}}, in_child()}) {
    const std::string text = refusal(library, options);
    EXPECT_THAT(text, says);
    EXPECT_THAT(text, AllOf(HasSubstr(library + ": "), Not(HasSubstr("\n"))));
  }
  EXPECT_EQ(children(), 0);
}

TEST(BadLibrary, ThatIsNotThere) {
  expect_refused("/no/where.so", StartsWith("plugin.load: /no/where.so: there is no such file"));
  const TempDir dir;
  expect_refused(dir.path().string(), HasSubstr("is not a file: a shared library is needed"));
}

TEST(BadLibrary, ThatIsNoLibrary) {
  const TempDir dir;
  write_file(dir / "text.so", "not an ELF file");
  expect_refused(dir / "text.so", StartsWith("plugin.load: "));
  write_file(dir / "empty.so", "");
  expect_refused(dir / "empty.so", HasSubstr("cannot be loaded: "));
  const std::string whole = mlbench::test::read_file(MLBENCH_PLUGIN_EXAMPLE);
  write_file(dir / "half.so", whole.substr(0, 100));
  expect_refused(dir / "half.so", HasSubstr("cannot be loaded: "));
}

TEST(BadLibrary, WithoutTheSymbol) {
  expect_refused(MLBENCH_PLUGIN_BAD_SYMBOL, AllOf(StartsWith("plugin.symbol: "),
                                                  HasSubstr("exports no mlbench_plugin_entry, which a plug-in must")));
}

TEST(BadLibrary, OfAnotherVersion) {
  expect_refused(MLBENCH_PLUGIN_BAD_VERSION,
                 AllOf(StartsWith("plugin.version: "),
                       HasSubstr("is built for version 77 of mlbench/plugin.h, this program needs version 1")));
}

TEST(BadLibrary, WithATableThatCannotBe) {
  expect_refused(MLBENCH_PLUGIN_BAD_NULL, AllOf(StartsWith("plugin.table: "), HasSubstr("returned no table")));
  expect_refused(MLBENCH_PLUGIN_BAD_SIZE,
                 HasSubstr("its table has 24 bytes, version 1 of mlbench/plugin.h has 288 to 296"));
  expect_refused(MLBENCH_PLUGIN_BAD_LARGE, HasSubstr("its table has 1073741824 bytes"));
  expect_refused(MLBENCH_PLUGIN_BAD_NAMELESS, HasSubstr("its table lacks name"));
  expect_refused(MLBENCH_PLUGIN_BAD_HOLE,
                 HasSubstr("its table lacks version: all but synchronize and measure_rates are needed"));
}

// In this process it would end the tests.
TEST(BadLibrary, ThatDiesWhileItIsLoaded) {
  EXPECT_THAT(refusal(MLBENCH_PLUGIN_BAD_CRASH, in_child()),
              AllOf(StartsWith("plugin.load: "),
                    HasSubstr("bad_crash.so: while it was loaded: its process died of SIGABRT (Aborted)")));
  const Fault fault("hang devices");
  EXPECT_THAT(refusal(MLBENCH_PLUGIN_FAULTY, in_child(0.2)),
              AllOf(StartsWith("plugin.load: "), HasSubstr("no answer within 0.2 s (--time-limit)")));
  EXPECT_EQ(children(), 0);
}

TEST(BadLibrary, WhoseDevicesCannotBe) {
  const Fault fault("many devices");
  expect_refused(MLBENCH_PLUGIN_FAULTY, HasSubstr("devices: 18446744073709551615 of them"));
}

TEST(BadLibrary, AProgramThatCannotHostIsToldApart) {
  OpenOptions options = in_child(5.0);
  options.process.program = "/no/program";
  EXPECT_THAT(refusal(MLBENCH_PLUGIN_EXAMPLE, options), HasSubstr("its process cannot be started: No such file"));
  options.process.program = "/bin/true";
  EXPECT_THAT(refusal(MLBENCH_PLUGIN_EXAMPLE, options), HasSubstr("its process exited with code 0"));
}

}  // namespace
}  // namespace mlbench::plugin::test
