#include "core/file_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

std::string reason() { return std::strerror(errno); }

std::size_t regular_file_size(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) throw request_error("file.missing", fmt::format("{}: no such file", path));
    throw request_error("file.unreadable", fmt::format("{}: {}", path, reason()));
  }
  if (S_ISDIR(status.st_mode)) throw request_error("file.not_a_file", fmt::format("{}: is a folder, not a file", path));
  if (!S_ISREG(status.st_mode)) throw request_error("file.not_a_file", fmt::format("{}: is not a regular file", path));
  return static_cast<std::size_t>(status.st_size);
}

bool write_all(int fd, const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t count = ::write(fd, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    done += static_cast<std::size_t>(count);
  }
  return true;
}

}  // namespace

void require_regular_file(const std::string& path) { (void)regular_file_size(path); }

FileMap::FileMap(const std::string& path) {
  const std::size_t size = regular_file_size(path);
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) throw request_error("file.unreadable", fmt::format("{}: {}", path, reason()));
  if (size == 0) return;
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) throw request_error("file.unreadable", fmt::format("{}: {}", path, reason()));
  bytes_ = {static_cast<const std::byte*>(address), size};
}

FileMap::~FileMap() {
  // munmap takes a mutable pointer although it changes nothing that we own.
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

FileMap::FileMap(FileMap&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

FileMap& FileMap::operator=(FileMap&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

std::string read_text_file(const std::string& path, std::size_t limit) {
  const std::size_t size = regular_file_size(path);
  if (size > limit) {
    throw request_error("file.too_large", fmt::format("{}: {} bytes, at most {} are read", path, size, limit));
  }
  const FileMap map(path);
  return {reinterpret_cast<const char*>(map.bytes().data()), map.bytes().size()};
}

void require_writable(const std::string& path) {
  const auto fail = [&](const std::string& why) {
    return Error(ErrorKind::internal, "file.unwritable", fmt::format("{}: {}", path, why));
  };
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) throw fail(std::strerror(EISDIR));
    if (!S_ISREG(status.st_mode) && ::access(path.c_str(), W_OK) != 0) throw fail(reason());
    if (!S_ISREG(status.st_mode)) return;
  }
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  if (::access(folder.c_str(), W_OK | X_OK) != 0) throw fail(reason());
}

void write_file_whole(const std::string& path, const std::string& text) {
  const auto fail = [&](const std::string& why) {
    return Error(ErrorKind::internal, "file.unwritable", fmt::format("{}: {}", path, why));
  };
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
    // A device or a pipe (/dev/stdout): nothing to keep whole, and nothing to put a file in the place of.
    const Descriptor target(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (target.get() < 0 || !write_all(target.get(), text)) throw fail(reason());
    return;
  }
  std::string beside = path + ".XXXXXX";
  Descriptor file(::mkstemp(beside.data()));
  if (file.get() < 0) throw fail(reason());
  const auto give_up = [&] {
    const std::string why = reason();
    ::unlink(beside.c_str());
    return fail(why);
  };
  if (!write_all(file.get(), text)) throw give_up();
  // mkstemp makes files private; a report gets the mode that any new file would have.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  if (::fchmod(file.get(), 0666 & ~mask) != 0 || ::close(file.release()) != 0) throw give_up();
  if (std::rename(beside.c_str(), path.c_str()) != 0) throw give_up();
}

}  // namespace mlbench
