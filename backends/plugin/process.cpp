#include "backends/plugin/process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include <fmt/format.h>

#include "backends/plugin/host.h"

namespace mlbench::plugin {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kPatienceAfterSilence = 2.0;  // between a closed channel and the end of the process
constexpr double kPatienceAtTheEnd = 10.0;     // for a session to be destroyed

Error cannot_start(const std::string& library, int why) {
  return Error(ErrorKind::unavailable, "plugin.load",
               fmt::format("{}: its process cannot be started: {}", library, std::strerror(why)));
}

std::string ending_of(int status) {
  if (!WIFSIGNALED(status)) return fmt::format("its process exited with code {}", WEXITSTATUS(status));
  const int signal = WTERMSIG(status);
  const char* name = ::sigabbrev_np(signal);
  return name == nullptr ? fmt::format("its process died of signal {}", signal)
                         : fmt::format("its process died of SIG{} ({})", name, ::strsignal(signal));
}

// A duplicate out of the way of the numbers that the child's files get.
int moved_up(int fd) {
  constexpr int kLowest = 16;
  const int up = ::fcntl(fd, F_DUPFD_CLOEXEC, kLowest);
  ::close(fd);
  return up;
}

// Files of the child: nothing to read, standard output with standard error, the two of ours, no others.
class FileActions {
 public:
  FileActions(int channel, int weights, int requests, int replies) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, STDERR_FILENO, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions_, channel, kChannelFd);
    ::posix_spawn_file_actions_adddup2(&actions_, weights, kWeightsFd);
    ::posix_spawn_file_actions_adddup2(&actions_, requests, kRequestsFd);
    ::posix_spawn_file_actions_adddup2(&actions_, replies, kRepliesFd);
    ::posix_spawn_file_actions_addclosefrom_np(&actions_, kRepliesFd + 1);
  }
  ~FileActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  [[nodiscard]] const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

}  // namespace

Process::Process(const std::string& library, ProcessOptions options)
    : Caller(library, options.time_limit_s), library_(library), options_(std::move(options)) {
  try {
    start();
    hear_description();
  } catch (const Error& error) {  // a process that never stood is a backend that is not there
    end(0.0);
    if (error.kind() == ErrorKind::unavailable) throw;
    const bool named = error.message().starts_with(library);
    throw Error(ErrorKind::unavailable, "plugin.load",
                named ? error.message() : fmt::format("{}: {}", library, error.message()));
  }
}

Process::~Process() {
  end(std::min(kPatienceAtTheEnd, options_.time_limit_s > 0.0 ? options_.time_limit_s : kPatienceAtTheEnd));
}

void Process::end(double patience_s) {
  disconnect();
  (void)reap(patience_s);
  for (const int fd : {weights_fd_, requests_fd_, replies_fd_}) {
    if (fd >= 0) ::close(fd);
  }
}

void Process::start() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw cannot_start(library_, errno);
  connect(std::make_unique<Channel>(ends[0]));
  const int theirs = moved_up(ends[1]);
  weights_fd_ = moved_up(::memfd_create("mlbench-weights", MFD_CLOEXEC));
  requests_fd_ = moved_up(make_arena_file());
  replies_fd_ = moved_up(make_arena_file());
  if (std::min({theirs, weights_fd_, requests_fd_, replies_fd_}) < 0) {
    const int why = errno;
    ::close(theirs);
    throw cannot_start(library_, why);
  }
  std::string words[] = {"mlbench", "plugin-host", library_, fmt::format("{}", ::getpid())};
  char* argv[] = {words[0].data(), words[1].data(), words[2].data(), words[3].data(), nullptr};
  channel().share(requests_fd_, replies_fd_);
  const FileActions files(theirs, weights_fd_, requests_fd_, replies_fd_);
  const int status = ::posix_spawn(&pid_, options_.program.c_str(), files.get(), nullptr, argv, environ);
  ::close(theirs);
  if (status != 0) {
    pid_ = -1;
    throw cannot_start(library_, status);
  }
}

void Process::hear_description() {
  const char* doing = "while it was loaded";
  read(doing, hear(doing), [&](Reader& from) {
    description_.name = from.text();
    description_.version = from.text();
    description_.why_none = from.text();
    const auto count = from.number<std::uint64_t>();
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::string id = from.text();
      const std::string what = from.text();
      description_.devices.push_back({id, what, from.number<std::uint64_t>()});
    }
  });
}

std::string Process::how_it_ended() { return reap(kPatienceAfterSilence); }

void Process::end_it() { (void)reap(0.0); }

std::string Process::reap(double patience_s) {
  if (pid_ < 0) return "";
  const auto until = Clock::now() + std::chrono::duration<double>(patience_s);
  int status = 0;
  bool killed = false;
  while (::waitpid(pid_, &status, killed ? 0 : WNOHANG) != pid_) {
    if (killed && errno != EINTR) break;  // somebody else has reaped it
    if (Clock::now() >= until) {
      ::kill(pid_, SIGKILL);
      killed = true;
      continue;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  pid_ = -1;
  return killed ? "its process closed its side of the channel and was ended" : ending_of(status);
}

}  // namespace mlbench::plugin
