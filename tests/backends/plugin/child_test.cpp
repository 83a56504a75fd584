// The process of a plug-in: what it has of ours, and when it ends.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <set>
#include <thread>

#include <gmock/gmock.h>

#include "tests/backends/plugin/plugins.h"
#include "tests/support/command.h"

namespace mlbench::plugin::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string target_of(pid_t pid, int fd) {
  std::error_code no_matter;
  return fs::read_symlink("/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd), no_matter).string();
}

// Waits for something that takes as long as it takes; ctest's own limit ends a test that waits in vain.
template <class Condition>
void wait_for(Condition condition) {
  while (!condition()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

TEST(PluginProcess, HasNoFilesOfOurs) {
  const int secret = ::open("/dev/zero", O_RDONLY);  // without O_CLOEXEC
  const auto backend = open_child(MLBENCH_PLUGIN_EXAMPLE);
  const std::vector<pid_t> pids = children_of(::getpid());
  ASSERT_EQ(pids.size(), 1U);
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(pids[0]) + "/fd")) {
    const int fd = std::stoi(entry.path().filename());
    EXPECT_LE(fd, 6) << target_of(pids[0], fd);
  }
  EXPECT_EQ(target_of(pids[0], STDIN_FILENO), "/dev/null");
  EXPECT_EQ(target_of(pids[0], STDOUT_FILENO), target_of(::getpid(), STDERR_FILENO));
  ::close(secret);
}

TEST(PluginProcess, EndsWithItsBackendAndItsSession) {
  const Model model = small_model(Architecture::llama);
  auto backend = open_child(MLBENCH_PLUGIN_EXAMPLE);
  EXPECT_EQ(children(), 1);
  auto session = backend->load(model, {});  // takes the process over
  EXPECT_EQ(children(), 1);
  EXPECT_TRUE(backend->supports(model.config, {}));
  EXPECT_EQ(children(), 2);
  backend.reset();
  EXPECT_EQ(children(), 1);
  session.reset();
  EXPECT_EQ(children(), 0);
}

// A run in the middle of a call that never ends, killed: its plug-in's process does not outlive it.
TEST(PluginProcess, DiesWithAKilledParent) {
  const Fault fault("hang forward");
  const pid_t run = ::fork();
  ASSERT_GE(run, 0);
  if (run == 0) {
    const int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, STDOUT_FILENO);
    ::execl(MLBENCH_PROGRAM, "mlbench", "verify", "--arch", "llama", "--backend", MLBENCH_PLUGIN_FAULTY, "--time-limit",
            "0", "--mode", "chained", nullptr);
    ::_exit(126);
  }
  pid_t plugin = 0;
  wait_for([&] {
    const std::vector<pid_t> pids = children_of(run);
    if (!pids.empty()) plugin = pids[0];
    // Beyond its start: it has the library open, and so the request that its parent is to die before it.
    return plugin != 0 && !fs::is_empty("/proc/" + std::to_string(plugin) + "/fd") &&
           target_of(plugin, 4).find("mlbench-weights") != std::string::npos &&
           fs::read_symlink("/proc/" + std::to_string(plugin) + "/exe").filename() == "mlbench";
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  ::kill(run, SIGKILL);
  ::waitpid(run, nullptr, 0);
  // Gone, or dead and waiting for whoever adopted it.
  wait_for([&] { return target_of(plugin, 4).empty(); });
}

TEST(PluginProcess, IsNotStartedByHand) {
  const mlbench::test::Outcome run =
      mlbench::test::run_program({"plugin-host", MLBENCH_PLUGIN_EXAMPLE, std::to_string(::getpid())});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("mlbench: usage: plugin-host: is started by the program itself"));
  EXPECT_THAT(mlbench::test::run_program({"--help"}).out, testing::Not(HasSubstr("plugin-host")));
}

}  // namespace
}  // namespace mlbench::plugin::test
