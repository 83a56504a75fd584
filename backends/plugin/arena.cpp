#include "backends/plugin/arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "backends/plugin/wire.h"
#include "core/error.h"

namespace mlbench::plugin {
namespace {

Error no_room(int why) {
  return Error(ErrorKind::internal, "memory.exceeded",
               fmt::format("memory shared with the plug-in's process: {}", std::strerror(why)));
}

}  // namespace

int make_arena_file() {
  const int fd = ::memfd_create("mlbench-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0 || ::fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0) return fd;
  ::close(fd);
  return -1;
}

Arena::~Arena() {
  if (data_ != nullptr) ::munmap(data_, mapped_);
}

void Arena::map(std::size_t size) {
  if (size <= mapped_) return;
  if (data_ != nullptr) ::munmap(data_, mapped_);
  data_ = nullptr;
  mapped_ = 0;
  const int rights = use_ == Use::write ? PROT_READ | PROT_WRITE : PROT_READ;
  void* at = ::mmap(nullptr, size, rights, MAP_SHARED, fd_, 0);
  if (at == MAP_FAILED) throw no_room(errno);  // NOLINT: a macro of the system's
  data_ = static_cast<std::byte*>(at);
  mapped_ = size;
}

void Arena::write(const std::vector<std::span<const std::byte>>& pieces, std::size_t size) {
  if (size > mapped_) {
    // Taken now: a page that is missing later would end the process.
    if (const int why = ::posix_fallocate(fd_, 0, static_cast<off_t>(size)); why != 0) throw no_room(why);
    map(size);
  }
  std::byte* to = data_;
  for (const auto& piece : pieces) {
    std::memcpy(to, piece.data(), piece.size());
    to += piece.size();
  }
}

std::span<const std::byte> Arena::read(std::size_t size) {
  struct stat status {};
  if (::fstat(fd_, &status) != 0 || static_cast<std::uint64_t>(status.st_size) < size)
    throw Malformed("it promises more than there is");
  map(size);
  return {data_, size};
}

}  // namespace mlbench::plugin
