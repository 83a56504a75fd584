#include "core/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

#include <fmt/format.h>

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
    for (Pipe& pipe : pipes_) {
      if (::pipe2(pipe.data(), O_CLOEXEC) != 0) failed_ = errno;
    }
    ::posix_spawn_file_actions_adddup2(&files_, pipes_[0][1], STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&files_, pipes_[1][1], STDERR_FILENO);
  }
  ~Setup() {
    ::posix_spawn_file_actions_destroy(&files_);
    ::posix_spawnattr_destroy(&attributes_);
    close_ends(1);
    close_ends(0);
  }
  Setup(const Setup&) = delete;
  Setup& operator=(const Setup&) = delete;

  int spawn(std::vector<std::string> words, pid_t& pid) {
    if (failed_ != 0) return failed_;
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const int failed = ::posix_spawnp(&pid, argv.front(), &files_, &attributes_, argv.data(), environ);
    close_ends(1);
    return failed;
  }
  // Takes what stands in the pipes, or waits a moment for it.
  void read_some(ChildOutcome& into) {
    std::array<pollfd, 2> ready{pollfd{pipes_[0][0], POLLIN, 0}, pollfd{pipes_[1][0], POLLIN, 0}};  // -1 is passed over
    if (::poll(ready.data(), ready.size(), kLookEveryMs) <= 0) return;
    for (std::size_t i = 0; i < ready.size(); ++i) {
      std::string& out = i == 0 ? into.out : into.err;
      if (ready[i].revents == 0) continue;
      char bytes[65536];
      const ssize_t count = ::read(ready[i].fd, bytes, sizeof bytes);
      if (count > 0)
        out.append(bytes, std::min(static_cast<std::size_t>(count), kMostText - std::min(kMostText, out.size())));
      if (count == 0) close_end(pipes_[i][0]);
    }
  }

 private:
  using Pipe = std::array<int, 2>;

  static void close_end(int& end) {
    if (end >= 0) ::close(end);
    end = -1;
  }
  void close_ends(std::size_t which) {
    for (Pipe& pipe : pipes_) close_end(pipe[which]);
  }

  posix_spawn_file_actions_t files_{};
  posix_spawnattr_t attributes_{};
  std::array<Pipe, 2> pipes_{Pipe{-1, -1}, Pipe{-1, -1}};  // of standard output and error
  int failed_ = 0;
};

}  // namespace

ChildOutcome run_child(const std::vector<std::string>& words, const ChildOptions& options) {
  ChildOutcome out;
  Setup setup(options.log);
  pid_t pid = -1;
  if (const int failed = setup.spawn(words, pid); failed != 0) {
    out.fail = fmt::format("cannot be started: {}", std::strerror(failed));
    return out;
  }
  const Clock::time_point start = Clock::now();
  Clock::time_point asked{};  // to end
  const auto ask = [&](int signal) {
    (void)::kill(signal == SIGKILL ? -pid : pid, signal);
    asked = Clock::now();
  };
  int status = 0;
  pid_t ended = 0;
  while ((ended = ::waitpid(pid, &status, WNOHANG)) == 0) {
    setup.read_some(out);
    const bool ending = out.timed_out || out.stopped;
    if (ending && seconds_since(asked) > options.patience_s) ask(SIGKILL);
    if (ending) continue;
    out.timed_out = options.time_limit_s > 0.0 && seconds_since(start) > options.time_limit_s;
    out.stopped = !out.timed_out && options.stop && options.stop();
    if (out.timed_out) ask(SIGKILL);
    if (out.stopped) ask(SIGINT);
  }
  const int why = errno;
  (void)::kill(-pid, SIGKILL);  // what it has left behind
  const auto taken = [&] { return out.out.size() + out.err.size(); };
  for (std::size_t before = taken() + 1; options.log.empty() && before != taken();) {
    before = taken();
    setup.read_some(out);
  }
  // Where SIGCHLD is ignored, as some that start programs leave it, nobody is told.
  if (ended != pid) {
    out.fail = fmt::format("how it ended is not known: {}", std::strerror(why));
    return out;
  }
  out.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return out;
}

}  // namespace mlbench
