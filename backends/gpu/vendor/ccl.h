// Sums over devices by a library of NCCL's kind, which RCCL is, too: two libraries with the same names, whose types are
// those of the one that is included. It is opened while the program runs.
#pragma once

#include <cstddef>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include <fmt/format.h>

#include "backends/gpu/collectives.h"
#include "backends/gpu/vendor/library.h"
#include "backends/gpu/vendor/stream.h"

namespace mlbench::gpu::vendor {

// The library's own types and constants.
template <class VendorApi, class RawCommunicator, class UniqueId, auto success, auto float32, auto sum>
struct Ccl {
  using Api = VendorApi;
  using Status = decltype(success);
  using Communicator = RawCommunicator;
  using Id = UniqueId;
  using Stream = typename Api::Stream;
  static constexpr Status kSuccess = success;
  static constexpr auto kFloat32 = float32;
  static constexpr auto kSum = sum;

  // What is used of it.
  struct Functions {
    Status (*get_version)(int* version) = nullptr;
    Status (*get_unique_id)(Id* id) = nullptr;
    Status (*join)(Communicator* communicator, int ranks, Id id, int rank) = nullptr;
    Status (*abort)(Communicator communicator) = nullptr;
    Status (*all_reduce)(const void* from, void* to, std::size_t count, decltype(float32) type, decltype(sum) how,
                         Communicator communicator, Stream stream) = nullptr;
    const char* (*error_string)(Status status) = nullptr;
  };
};

// The first of `names` that can be opened; it stays so until the process ends. Throws ErrorKind::unavailable with code
// backend.unavailable, saying what became of each of them.
template <class Names>
[[nodiscard]] typename Names::Functions open_ccl(Wanted wanted, std::span<const std::string> names) {
  const Library library(wanted, names);
  typename Names::Functions f;
  library.find("ncclGetVersion", f.get_version);
  library.find("ncclGetUniqueId", f.get_unique_id);
  library.find("ncclCommInitRank", f.join);
  library.find("ncclCommAbort", f.abort);
  library.find("ncclAllReduce", f.all_reduce);
  library.find("ncclGetErrorString", f.error_string);
  return f;
}

// "2.28.9" of 22809
[[nodiscard]] inline std::string ccl_version_text(int version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

// The machine in one start of it, for every process and container there the same.
[[nodiscard]] inline std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string out;
  std::getline(file, out);
  return out;
}

template <class Names>
class CclCollectives final : public Collectives {
 public:
  // Of the current device.
  CclCollectives(const typename Names::Functions& library, const char* name, typename Names::Id id, Index shards,
                 Index shard)
      : library_(&library), name_(name), communicator_(nullptr, library.abort) {
    typename Names::Communicator raw = nullptr;
    require(library.join(&raw, static_cast<int>(shards), id, static_cast<int>(shard)), "meeting the other shards");
    communicator_.reset(raw);
  }

  void all_reduce(Stream& stream, float* values, Index count) override {
    if (count == 0) return;
    const auto native = native_for_launch<typename Names::Api>(stream);
    require(library_->all_reduce(values, values, static_cast<std::size_t>(count), Names::kFloat32, Names::kSum,
                                 communicator_.get(), native),
            "queueing a sum");
  }
  [[nodiscard]] bool can_be_recorded() const override { return true; }

 private:
  void require(typename Names::Status status, std::string_view doing) const {
    if (status == Names::kSuccess) return;
    throw Error(ErrorKind::internal, "backend.failed",
                fmt::format("{}: {}: {}: {}; NCCL_DEBUG=WARN says more", Names::Api::kName, name_, doing,
                            library_->error_string(status)));
  }

  const typename Names::Functions* library_;
  const char* name_;
  // Aborted, as that waits for nobody: other shards may be gone, and what was asked for is done when a session ends.
  std::unique_ptr<std::remove_pointer_t<typename Names::Communicator>,
                  typename Names::Status (*)(typename Names::Communicator)>
      communicator_;
};

template <class Names>
class CclLibrary final : public CollectiveLibrary {
 public:
  // `name`: "NCCL". For a device as the vendor counts.
  CclLibrary(const typename Names::Functions& library, const char* name, int device)
      : library_(&library), name_(name), device_(device) {}

  [[nodiscard]] std::string name() const override {
    int version = 0;
    static_cast<void>(library_->get_version(&version));
    return fmt::format("{} {}", name_, ccl_version_text(version));
  }
  [[nodiscard]] std::string device() const override {
    char bus[32] = {};
    check<typename Names::Api>(Names::Api::pci_id(&bus[0], sizeof bus, device_), "asking for a device's place");
    return fmt::format("{} {}", boot_id(), &bus[0]);
  }

  [[nodiscard]] Meeting new_meeting() override {
    static_assert(sizeof(typename Names::Id) == sizeof(Meeting));
    typename Names::Id id{};
    if (const auto status = library_->get_unique_id(&id); status != Names::kSuccess) {
      throw Error(ErrorKind::internal, "backend.failed",
                  fmt::format("{}: {}: making a meeting of shards: {}", Names::Api::kName, name_,
                              library_->error_string(status)));
    }
    Meeting out;
    std::memcpy(out.data(), &id, sizeof id);
    return out;
  }
  [[nodiscard]] std::unique_ptr<Collectives> join(const Meeting& meeting, Index shards, Index shard) override {
    typename Names::Id id{};
    std::memcpy(&id, meeting.data(), sizeof id);
    check<typename Names::Api>(Names::Api::set_device(device_), "choosing a device");
    return std::make_unique<CclCollectives<Names>>(*library_, name_, id, shards, shard);
  }

 private:
  const typename Names::Functions* library_;
  const char* name_;
  int device_;
};

// By a library that is opened once; null where it cannot be: then sums go through the host.
template <class Names>
[[nodiscard]] std::unique_ptr<CollectiveLibrary> make_ccl(const char* name, Wanted wanted,
                                                          std::span<const std::string> names, int device) {
  using Functions = typename Names::Functions;
  static const auto library = [&]() -> std::optional<Functions> {
    try {
      return open_ccl<Names>(wanted, names);
    } catch (const Error&) {
      return std::nullopt;
    }
  }();
  if (!library) return nullptr;
  return std::make_unique<CclLibrary<Names>>(*library, name, device);
}

}  // namespace mlbench::gpu::vendor
