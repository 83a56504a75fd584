#include "golden/golden_file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <new>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file_map.h"
#include "golden/hdf5_reader.h"

namespace mlbench::golden {
namespace {

using nlohmann::json;

// The parent sends one letter, the length of a name, the name; the child answers with a status, a length and that many
// bytes.
constexpr char kList = 'L';
constexpr char kReals = 'R';
constexpr char kIntegers = 'I';
constexpr char kStored = 'S';
enum class Status : char { ok, error };
constexpr std::uint64_t kMaxName = 1U << 20U;
constexpr std::uint64_t kMaxListing = 1U << 30U;

bool read_all(int fd, void* data, std::size_t size) {
  auto* to = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t count = ::read(fd, to, size);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    to += count;
    size -= static_cast<std::size_t>(count);
  }
  return true;
}

bool write_all(int fd, const void* data, std::size_t size) {
  const auto* from = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t count = ::send(fd, from, size, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    from += count;
    size -= static_cast<std::size_t>(count);
  }
  return true;
}

// ---- the child's side ----

constexpr rlim_t kSecondsPerAnswer = 30;               // of processor time; a damaged file can make the library loop
constexpr std::uint64_t kBytesPerSecond = 10'000'000;  // and this much more for honest work

void limit_resources() {
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which reserve terabytes of address space
  const auto memory = static_cast<rlim_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
  const rlimit space{memory, memory};
  ::setrlimit(RLIMIT_AS, &space);
#endif
}

void allow_time(std::uint64_t bytes) {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto so_far = static_cast<rlim_t>(used.ru_utime.tv_sec + used.ru_stime.tv_sec);
  const rlimit time{so_far + kSecondsPerAnswer + bytes / kBytesPerSecond, RLIM_INFINITY};
  ::setrlimit(RLIMIT_CPU, &time);
}

bool answer(int fd, Status status, const void* data, std::uint64_t size) {
  return write_all(fd, &status, 1) && write_all(fd, &size, sizeof size) && write_all(fd, data, size);
}

bool answer(int fd, Status status, const std::string& text) { return answer(fd, status, text.data(), text.size()); }

std::string to_json_text(const FileInfo& info) {
  json datasets = json::array();
  json groups = json::array();
  for (const DatasetInfo& dataset : info.datasets) {
    datasets.push_back(
        {dataset.path, dataset.shape, static_cast<int>(dataset.kind), dataset.object, dataset.attributes});
  }
  for (const GroupInfo& group : info.groups) groups.push_back({group.path, group.attributes});
  // Names may hold any bytes; what is not text cannot be the name of anything that is looked for.
  return json{{"datasets", datasets}, {"groups", groups}, {"attributes", info.attributes}}.dump(
      -1, ' ', false, json::error_handler_t::replace);
}

FileInfo from_json_text(const std::string& text) {
  const json listing = json::parse(text);
  FileInfo info;
  for (const json& item : listing["datasets"]) {
    info.datasets.push_back({item[0].get<std::string>(), item[1].get<Shape>(),
                             static_cast<ValueKind>(item[2].get<int>()), item[3].get<std::uint64_t>(),
                             item[4].get<Attributes>()});
  }
  for (const json& item : listing["groups"])
    info.groups.push_back({item[0].get<std::string>(), item[1].get<Attributes>()});
  info.attributes = listing["attributes"].get<Attributes>();
  return info;
}

template <class T>
bool answer_values(int fd, const std::string& path, const Hdf5Reader& reader, const FileInfo& info,
                   const std::string& name) {
  const auto it =
      std::find_if(info.datasets.begin(), info.datasets.end(), [&](const auto& d) { return d.path == name; });
  if (it == info.datasets.end())
    return answer(fd, Status::error, fmt::format("golden.corrupt\n{}: no dataset {}", path, in_quotes(name)));
  std::vector<T> values(static_cast<std::size_t>(element_count(it->shape)));
  allow_time(values.size() * sizeof(T));
  reader.read(name, values);
  return answer(fd, Status::ok, values.data(), values.size() * sizeof(T));
}

void serve(const std::string& path, int fd, std::uint64_t file_bytes) {
  allow_time(file_bytes);
  std::unique_ptr<Hdf5Reader> reader;
  FileInfo info;
  char request = 0;
  std::uint64_t length = 0;
  std::string name;
  bool open = true;
  while (open && read_all(fd, &request, 1) && read_all(fd, &length, sizeof length) && length <= kMaxName) {
    name.resize(length);
    if (!read_all(fd, name.data(), length)) return;
    try {
      if (request == kList) {
        reader = std::make_unique<Hdf5Reader>(path);
        info = reader->info();
        open = answer(fd, Status::ok, to_json_text(info));
      } else if (request == kStored) {
        const std::uint64_t bytes = reader->stored_bytes(name);
        open = answer(fd, Status::ok, &bytes, sizeof bytes);
      } else if (request == kReals) {
        open = answer_values<double>(fd, path, *reader, info, name);
      } else {
        open = answer_values<std::int64_t>(fd, path, *reader, info, name);
      }
    } catch (const Error& error) {
      open = answer(fd, Status::error, error.code() + "\n" + error.message());
    } catch (const std::bad_alloc&) {
      open = answer(fd, Status::error, fmt::format("golden.corrupt\n{}: asks for more memory than there is", path));
    }
  }
}

}  // namespace

// ---- the parent's side ----

class GoldenFile::Child {
 public:
  explicit Child(const std::string& path) : path_(path) {
    require_regular_file(path);
    struct stat status {};
    (void)::stat(path.c_str(), &status);
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw cannot_start();
    pid_ = ::fork();
    if (pid_ < 0) {
      const int why = errno;
      ::close(ends[0]);
      ::close(ends[1]);
      errno = why;
      throw cannot_start();
    }
    if (pid_ == 0) {
      ::close(ends[0]);
      const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
      if (null >= 0) ::dup2(null, STDERR_FILENO);  // the library's last words would only confuse
      limit_resources();
      try {
        serve(path, ends[1], static_cast<std::uint64_t>(status.st_size));
      } catch (...) {
        ::_exit(1);
      }
      ::_exit(0);
    }
    ::close(ends[1]);
    fd_ = ends[0];
  }

  ~Child() {
    ::close(fd_);
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      (void)wait_for_end();
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Asks, and returns the size of the answer that follows; throws the child's own error, or says how it ended.
  std::uint64_t ask(char request, const std::string& name) {
    const std::uint64_t length = name.size();
    Status status{};
    std::uint64_t size = 0;
    if (!write_all(fd_, &request, 1) || !write_all(fd_, &length, sizeof length) ||
        !write_all(fd_, name.data(), length) || !read_all(fd_, &status, 1) || !read_all(fd_, &size, sizeof size)) {
      throw ended();
    }
    if (status == Status::ok) return size;
    std::string text(std::min<std::uint64_t>(size, kMaxName), '\0');
    receive(text.data(), text.size());
    const auto line = text.find('\n');
    throw request_error(text.substr(0, line), text.substr(line + 1));
  }

  void receive(void* data, std::size_t size) {
    if (!read_all(fd_, data, size)) throw ended();
  }

 private:
  static Error cannot_start() {
    return Error(ErrorKind::internal, "golden.reader",
                 fmt::format("cannot start a reader process: {}", std::strerror(errno)));
  }

  int wait_for_end() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

  Error ended() {
    if (pid_ < 0) return request_error("golden.corrupt", fmt::format("{}: its reader has ended", path_));
    const int status = wait_for_end();
    std::string how = "ended without an answer";
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU) {
      how = "did not come to an end";
    } else if (WIFSIGNALED(status)) {
      how = fmt::format("crashed (signal {})", WTERMSIG(status));
    }
    return request_error("golden.corrupt",
                         fmt::format("{}: the HDF5 library {} over it: the file is corrupt", path_, how));
  }

  std::string path_;
  pid_t pid_ = -1;
  int fd_ = -1;
};

GoldenFile::GoldenFile(const std::string& path) : path_(path), child_(std::make_unique<Child>(path)) {
  const std::uint64_t size = child_->ask(kList, "");
  if (size > kMaxListing)
    throw request_error("golden.corrupt", fmt::format("{}: lists more than {} bytes of names", path, kMaxListing));
  std::string text(size, '\0');
  child_->receive(text.data(), text.size());
  info_ = from_json_text(text);
}

GoldenFile::~GoldenFile() = default;

const DatasetInfo* GoldenFile::find(const std::string& dataset) const {
  const auto it =
      std::find_if(info_.datasets.begin(), info_.datasets.end(), [&](const auto& d) { return d.path == dataset; });
  return it == info_.datasets.end() ? nullptr : &*it;
}

std::optional<std::string> GoldenFile::attribute(const std::string& name) const {
  const auto it = info_.attributes.find(name);
  if (it == info_.attributes.end()) return std::nullopt;
  return it->second;
}

template <class T>
Tensor<T> GoldenFile::read_as(char request, const DatasetInfo& dataset, ValueKind kind) {
  if (dataset.kind != kind) {
    throw request_error("golden.format", fmt::format("{}: dataset {} must hold {}", path_, in_quotes(dataset.path),
                                                     kind == ValueKind::real ? "floating-point numbers" : "integers"));
  }
  const std::uint64_t size = child_->ask(request, dataset.path);
  Tensor<T> values(dataset.shape);  // the child, whose memory is limited, could hold it
  if (size != static_cast<std::uint64_t>(values.size()) * sizeof(T)) {
    throw request_error("golden.corrupt",
                        fmt::format("{}: dataset {} changed its size", path_, in_quotes(dataset.path)));
  }
  child_->receive(values.data(), size);
  return values;
}

Tensor<double> GoldenFile::read(const DatasetInfo& dataset) {
  return read_as<double>(kReals, dataset, ValueKind::real);
}

Tensor<std::int64_t> GoldenFile::read_integers(const DatasetInfo& dataset) {
  return read_as<std::int64_t>(kIntegers, dataset, ValueKind::integer);
}

std::uint64_t GoldenFile::stored_bytes(const DatasetInfo& dataset) {
  std::uint64_t bytes = 0;
  if (dataset.kind == ValueKind::other) return bytes;  // links are not followed
  if (child_->ask(kStored, dataset.path) != sizeof bytes)
    throw request_error("golden.corrupt", fmt::format("{}: dataset {}: no size", path_, in_quotes(dataset.path)));
  child_->receive(&bytes, sizeof bytes);
  return bytes;
}

}  // namespace mlbench::golden
