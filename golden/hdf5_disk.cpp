#include "golden/hdf5_disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <memory>

namespace mlbench::golden {
namespace {

using DriverHandle = Hdf5Handle<H5FDunregister>;

// What travels through the property list to open(): the library copies it byte by byte.
struct Config {
  DiskState* state;
};

// The library knows a file by its first member, which is the library's own.
struct Disk {
  H5FD_t base;
  int fd;
  haddr_t end_of_allocated;
  haddr_t end_of_file;
  DiskState* state;
};

Disk& disk_of(H5FD_t* file) { return *reinterpret_cast<Disk*>(file); }
const Disk& disk_of(const H5FD_t* file) { return *reinterpret_cast<const Disk*>(file); }

H5FD_t* open_disk(const char* name, unsigned, hid_t access, haddr_t) {
  const auto* config = static_cast<const Config*>(H5Pget_driver_info(access));
  if (config == nullptr) return nullptr;
  const int fd = ::open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) {
    config->state->error = errno;
    return nullptr;
  }
  auto disk = std::make_unique<Disk>(Disk{{}, fd, 0, 0, config->state});
  return &disk.release()->base;
}

herr_t close_disk(H5FD_t* file) {
  const std::unique_ptr<Disk> disk(&disk_of(file));
  if (::close(disk->fd) != 0 && disk->state->error == 0) disk->state->error = errno;
  return 0;
}

herr_t query(const H5FD_t*, unsigned long* flags) {
  *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
           H5FD_FEAT_AGGREGATE_SMALLDATA;
  return 0;
}

haddr_t end_of_allocated(const H5FD_t* file, H5FD_mem_t) { return disk_of(file).end_of_allocated; }

herr_t set_end_of_allocated(H5FD_t* file, H5FD_mem_t, haddr_t end) {
  disk_of(file).end_of_allocated = end;
  return 0;
}

haddr_t end_of_file(const H5FD_t* file, H5FD_mem_t) { return disk_of(file).end_of_file; }

// What was never written, or was lost, reads as zeros.
herr_t read(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t at, std::size_t size, void* out) {
  const Disk& disk = disk_of(file);
  auto* to = static_cast<char*>(out);
  while (size > 0) {
    const ssize_t count = ::pread(disk.fd, to, size, static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && disk.state->error == 0) disk.state->error = errno;
    if (count <= 0) break;
    to += count;
    at += static_cast<haddr_t>(count);
    size -= static_cast<std::size_t>(count);
  }
  std::memset(to, 0, size);
  return 0;
}

herr_t write(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t at, std::size_t size, const void* data) {
  Disk& disk = disk_of(file);
  disk.end_of_file = std::max(disk.end_of_file, at + size);
  const auto* from = static_cast<const char*>(data);
  while (size > 0 && disk.state->error == 0) {
    const ssize_t count = ::pwrite(disk.fd, from, size, static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      disk.state->error = errno;
      break;
    }
    from += count;
    at += static_cast<haddr_t>(count);
    size -= static_cast<std::size_t>(count);
  }
  return 0;
}

herr_t truncate(H5FD_t* file, hid_t, hbool_t) {
  Disk& disk = disk_of(file);
  disk.end_of_file = disk.end_of_allocated;
  if (disk.state->error == 0 && ::ftruncate(disk.fd, static_cast<off_t>(disk.end_of_allocated)) != 0)
    disk.state->error = errno;
  return 0;
}

H5FD_class_t driver() {
  H5FD_class_t driver{};
#ifdef H5FD_CLASS_VERSION
  driver.version = H5FD_CLASS_VERSION;
  driver.value = static_cast<H5FD_class_value_t>(513);  // of those left to programs
#endif
  driver.name = "mlbench";
  driver.maxaddr = static_cast<haddr_t>(std::numeric_limits<off_t>::max());
  driver.fc_degree = H5F_CLOSE_STRONG;
  driver.fapl_size = sizeof(Config);
  driver.open = open_disk;
  driver.close = close_disk;
  driver.query = query;
  driver.get_eoa = end_of_allocated;
  driver.set_eoa = set_end_of_allocated;
  driver.get_eof = end_of_file;
  driver.read = read;
  driver.write = write;
  driver.truncate = truncate;
  constexpr H5FD_mem_t kKinds[] =
      H5FD_FLMAP_DICHOTOMY;  // which kinds of blocks share free space: as for any plain file
  std::copy(std::begin(kKinds), std::end(kKinds), std::begin(driver.fl_map));
  return driver;
}

}  // namespace

FileHandle create_on_disk(const std::string& name, hid_t creation, hid_t access, DiskState& state) {
  static const H5FD_class_t kDriver = driver();
  const DriverHandle registered(H5FDregister(&kDriver));  // the file keeps it for itself
  const Config config{&state};
  if (!registered.valid() || H5Pset_driver(access, registered.get(), &config) < 0) return FileHandle();
  return FileHandle(H5Fcreate(name.c_str(), H5F_ACC_TRUNC, creation, access));
}

}  // namespace mlbench::golden
