#include "backends/gpu/executor/shared_memory.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <sys/mman.h>

#include <fmt/format.h>

#include "backends/gpu/executor/faults.h"
#include "backends/gpu/executor/sanitizers.h"

namespace mlbench::gpu::executor {
namespace {

constexpr std::size_t kZoneBytes = 256;
constexpr std::size_t kMaxArrays = 64;
constexpr std::size_t kAlignment = 64;  // at most
constexpr std::byte kUnwritten{0xFF};
// ThreadSanitizer remembers who used memory until it is unmapped; blocks share none.
#if defined(MLBENCH_EXECUTOR_TSAN)
constexpr bool kFreshForEachBlock = true;
#else
constexpr bool kFreshForEachBlock = false;
#endif

void forbid([[maybe_unused]] const void* memory, [[maybe_unused]] std::size_t bytes) {
#if defined(MLBENCH_EXECUTOR_ASAN)
  __asan_poison_memory_region(memory, bytes);
#endif
}

void permit([[maybe_unused]] const void* memory, [[maybe_unused]] std::size_t bytes) {
#if defined(MLBENCH_EXECUTOR_ASAN)
  __asan_unpoison_memory_region(memory, bytes);
#endif
}

}  // namespace

bool SharedMemory::begin(Index limit, Index dynamic_bytes) {
  limit_ = static_cast<std::size_t>(std::max<Index>(limit, 0));
  arrays_.reserve(kMaxArrays);
  arrays_.clear();
  declared_ = 0;
  const std::size_t size = limit_ + (kMaxArrays + 1) * (kZoneBytes + kAlignment);
  if (size_ == size && !kFreshForEachBlock) {
    permit(memory_, size);
    std::fill_n(memory_, used_, kUnwritten);
  } else {
    map(size);
    std::fill_n(memory_, size, kUnwritten);
  }
  forbid(memory_, size);
  used_ = kZoneBytes;
  dynamic_ = add(nullptr, static_cast<std::size_t>(dynamic_bytes), kAlignment, "dynamic shared memory");
  return dynamic_ != nullptr;
}

void SharedMemory::map(std::size_t size) {
  unmap();
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    throw error(fmt::format("no memory for {} bytes that a block shares", size));
  }
  memory_ = static_cast<std::byte*>(memory);
  size_ = size;
}

void SharedMemory::unmap() {
  if (memory_ == nullptr) return;
  permit(memory_, size_);
  munmap(std::exchange(memory_, nullptr), std::exchange(size_, 0));
}

void* SharedMemory::array(const void* key, std::size_t bytes, std::size_t alignment, const char* name) {
  for (const Array& array : arrays_) {
    if (array.key == key) return array.data;
  }
  return add(key, bytes, alignment, name);
}

void* SharedMemory::add(const void* key, std::size_t bytes, std::size_t alignment, const char* name) {
  declared_ += bytes;
  if (declared_ > limit_ || arrays_.size() >= kMaxArrays) return nullptr;
  const std::size_t step = std::max<std::size_t>(alignment, 16);
  const auto base = reinterpret_cast<std::uintptr_t>(memory_);
  const std::size_t start = (base + used_ + step - 1) / step * step - base;
  used_ = start + bytes + kZoneBytes;
  std::byte* data = memory_ + start;
  permit(data, bytes);
  arrays_.push_back({key, data, bytes, name});
  return data;
}

// AddressSanitizer has already seen what could be found here.
std::optional<std::string> SharedMemory::overrun() const {
#if !defined(MLBENCH_EXECUTOR_ASAN)
  const std::byte* zone = memory_;
  for (std::size_t i = 0; i <= arrays_.size(); ++i) {
    const std::byte* end = i < arrays_.size() ? arrays_[i].data : memory_ + used_;
    const std::byte* written = std::find_if(zone, end, [](std::byte value) { return value != kUnwritten; });
    if (written != end) {
      const bool after = i > 0 && (i == arrays_.size() || written - zone < end - written);
      const std::ptrdiff_t distance = after ? written - zone + 1 : end - written;
      return fmt::format("wrote {} bytes {} of {}", distance, after ? "past the end" : "before the start",
                         arrays_[after ? i - 1 : i].name);
    }
    if (i < arrays_.size()) zone = arrays_[i].data + arrays_[i].bytes;
  }
#endif
  return std::nullopt;
}

}  // namespace mlbench::gpu::executor
