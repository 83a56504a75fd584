// Programs that are run to their end.
#include "core/child_process.h"

#include <csignal>

#include <gmock/gmock.h>

namespace mlbench {
namespace {

using ::testing::HasSubstr;

ChildOutcome run_shell(const std::string& script) { return run_child({"sh", "-c", script}); }

TEST(Children, KeepWhatTheySayAndWhatTheyComplainOfApart) {
  const ChildOutcome said = run_shell("echo a; echo b >&2; echo c; exit 3");
  EXPECT_EQ(said.exit_code, 3);
  EXPECT_EQ(said.out, "a\nc\n");
  EXPECT_EQ(said.err, "b\n");
  EXPECT_EQ(said.fail, "");
}

// More than a pipe holds, on both.
TEST(Children, MaySayMuchOnBoth) {
  const ChildOutcome said = run_shell("head -c 300000 /dev/zero >&2; head -c 200000 /dev/zero");
  EXPECT_EQ(said.exit_code, 0);
  EXPECT_EQ(said.out.size(), 200'000U);
  EXPECT_EQ(said.err.size(), 300'000U);
}

TEST(Children, ThatDieOfASignalSaySo) { EXPECT_EQ(run_shell("kill -9 $$").exit_code, 128 + SIGKILL); }

TEST(Children, ThatAreNotThereSayWhy) {
  const ChildOutcome said = run_child({"/no/such/program"});
  EXPECT_EQ(said.exit_code, -1);
  EXPECT_THAT(said.fail, HasSubstr("cannot be started: "));
}

// Whoever started this process may have left it so: then nobody is told how children end, and that is no success.
TEST(Children, OfWhichNobodyIsToldHaveNotSucceeded) {
  const auto before = std::signal(SIGCHLD, SIG_IGN);
  const ChildOutcome said = run_shell("exit 0");
  (void)std::signal(SIGCHLD, before);
  EXPECT_EQ(said.exit_code, -1);
  EXPECT_THAT(said.fail, HasSubstr("how it ended is not known"));
}

}  // namespace
}  // namespace mlbench
