#include "core/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

extern char** environ;  // NOLINT(readability-redundant-declaration): of POSIX, in no header

namespace mlbench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostText = std::size_t{4} << 20U;
constexpr int kLookEveryMs = 20;

double seconds_since(Clock::time_point then) { return std::chrono::duration<double>(Clock::now() - then).count(); }

// How the child's process and files are set up.
class Setup {
 public:
  explicit Setup(const std::string& log) {
    ::posix_spawnattr_init(&attributes_);
    ::posix_spawn_file_actions_init(&files_);
    ::posix_spawn_file_actions_addopen(&files_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    sigset_t none, usual;
    ::sigemptyset(&none);
    ::sigemptyset(&usual);
    for (const int signal : {SIGINT, SIGTERM, SIGPIPE, SIGXFSZ}) ::sigaddset(&usual, signal);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &usual);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (!log.empty()) {
      constexpr mode_t kRights = 0666;
      ::posix_spawn_file_actions_addopen(&files_, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, kRights);
      ::posix_spawn_file_actions_adddup2(&files_, STDOUT_FILENO, STDERR_FILENO);
      return;
    }
    if (::pipe2(pipe_, O_CLOEXEC) != 0) return;
    ::posix_spawn_file_actions_adddup2(&files_, pipe_[1], STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&files_, pipe_[1], STDERR_FILENO);
  }
  ~Setup() {
    ::posix_spawn_file_actions_destroy(&files_);
    ::posix_spawnattr_destroy(&attributes_);
    close_end(1);
    close_end(0);
  }
  Setup(const Setup&) = delete;
  Setup& operator=(const Setup&) = delete;

  int spawn(std::vector<std::string> words, pid_t& pid) {
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const int failed = ::posix_spawnp(&pid, argv.front(), &files_, &attributes_, argv.data(), environ);
    close_end(1);
    return failed;
  }
  [[nodiscard]] int output() const { return pipe_[0]; }

 private:
  void close_end(int end) {
    if (pipe_[end] >= 0) ::close(pipe_[end]);
    pipe_[end] = -1;
  }

  posix_spawn_file_actions_t files_{};
  posix_spawnattr_t attributes_{};
  int pipe_[2] = {-1, -1};
};

// Takes what stands in the pipe, or waits a moment for it.
void read_some(int fd, std::string& out) {
  pollfd ready{fd, POLLIN, 0};
  if (::poll(fd < 0 ? nullptr : &ready, fd < 0 ? 0 : 1, kLookEveryMs) <= 0) return;
  char bytes[65536];
  const ssize_t count = ::read(fd, bytes, sizeof bytes);
  if (count > 0)
    out.append(bytes, std::min(static_cast<std::size_t>(count), kMostText - std::min(kMostText, out.size())));
  if (count == 0) ::poll(nullptr, 0, 1);  // closed by a child that goes on
}

}  // namespace

ChildOutcome run_child(const std::vector<std::string>& words, const ChildOptions& options) {
  ChildOutcome out;
  Setup setup(options.log);
  pid_t pid = -1;
  if (const int failed = setup.spawn(words, pid); failed != 0) {
    out.fail = std::strerror(failed);
    return out;
  }
  const Clock::time_point start = Clock::now();
  Clock::time_point asked{};  // to end
  const auto ask = [&](int signal) {
    (void)::kill(signal == SIGKILL ? -pid : pid, signal);
    asked = Clock::now();
  };
  int status = 0;
  while (::waitpid(pid, &status, WNOHANG) == 0) {
    read_some(setup.output(), out.out);
    const bool ending = out.timed_out || out.stopped;
    if (ending && seconds_since(asked) > options.patience_s) ask(SIGKILL);
    if (ending) continue;
    out.timed_out = options.time_limit_s > 0.0 && seconds_since(start) > options.time_limit_s;
    out.stopped = !out.timed_out && options.stop && options.stop();
    if (out.timed_out) ask(SIGKILL);
    if (out.stopped) ask(SIGINT);
  }
  (void)::kill(-pid, SIGKILL);  // what it has left behind
  for (std::size_t before = out.out.size() + 1; setup.output() >= 0 && before != out.out.size();) {
    before = out.out.size();
    read_some(setup.output(), out.out);
  }
  out.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return out;
}

}  // namespace mlbench
