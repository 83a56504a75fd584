#include "golden/temporary_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::golden {
namespace {

// Names that a signal's handler removes. A handler can reach nothing but globals, and may neither lock nor allocate.
// Files beyond the table's size are removed by their destructors only.
std::array<std::atomic<const char*>, 16> unfinished{};
std::atomic<pid_t> owner{0};  // a forked child must not remove its parent's files
static_assert(std::atomic<const char*>::is_always_lock_free && std::atomic<pid_t>::is_always_lock_free);

extern "C" void remove_unfinished(int signal) {
  if (::getpid() == owner) {
    for (const auto& name : unfinished) {
      if (const char* text = name.load(); text != nullptr) ::unlink(text);
    }
  }
  (void)std::signal(signal, SIG_DFL);
  (void)std::raise(signal);
}

void catch_signals() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction now {};
    if (::sigaction(signal, nullptr, &now) != 0 || now.sa_handler != SIG_DFL) continue;  // someone else's business
    struct sigaction ours {};
    ours.sa_handler = remove_unfinished;
    (void)::sigaction(signal, &ours, nullptr);
  }
}

std::size_t remember(const char* name) {
  owner = ::getpid();
  catch_signals();
  std::size_t slot = 0;
  for (; slot < unfinished.size(); ++slot) {
    const char* none = nullptr;
    if (unfinished[slot].compare_exchange_strong(none, name)) break;
  }
  return slot;
}

Error unwritable(const std::string& target, const std::string& why) {
  return Error(ErrorKind::internal, "file.unwritable", fmt::format("{}: {}", target, why));
}

}  // namespace

TemporaryFile::TemporaryFile(const std::string& target) : target_(target), name_(target + ".XXXXXX") {
  struct stat status {};
  if (::stat(target.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
    throw unwritable(target, "is there and is not a regular file");
  const int file = ::mkstemp(name_.data());
  if (file < 0) throw unwritable(target, std::strerror(errno));
  slot_ = remember(name_.c_str());
  // mkstemp makes files private; this one gets the mode that any new file would have.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  if (::fchmod(file, 0666 & ~mask) == 0 && ::close(file) == 0) return;
  const std::string why = std::strerror(errno);
  ::unlink(name_.c_str());
  forget();
  throw unwritable(target, why);
}

TemporaryFile::~TemporaryFile() {
  if (name_.empty()) return;
  ::unlink(name_.c_str());
  forget();
}

void TemporaryFile::keep() {
  if (std::rename(name_.c_str(), target_.c_str()) != 0) throw unwritable(target_, std::strerror(errno));
  forget();
  name_.clear();
}

void TemporaryFile::forget() {
  if (slot_ < unfinished.size()) unfinished[slot_] = nullptr;
}

}  // namespace mlbench::golden
