#include "harness/guarded.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <fmt/format.h>

namespace mlbench::harness {
namespace {

constexpr std::size_t kGuard = 512;     // bytes on either side: more than a vector or a tile's row
constexpr std::size_t kAlignment = 64;  // what engines are used to
constexpr std::byte kCanary{0xa5};
constexpr std::byte kPoison{0xff};

bool all_equal(const std::byte* bytes, std::size_t count, std::byte value) {
  return std::all_of(bytes, bytes + count, [value](std::byte b) { return b == value; });
}

}  // namespace

GuardedTensor::GuardedTensor(DType dtype, Shape shape)
    : dtype_(dtype),
      shape_(std::move(shape)),
      size_(static_cast<std::size_t>(element_count(shape_)) * size_bytes(dtype)),
      begin_(0),
      storage_(size_ + 2 * kGuard + kAlignment, kCanary) {
  const auto address = reinterpret_cast<std::uintptr_t>(storage_.data()) + kGuard;
  begin_ = kGuard + (kAlignment - address % kAlignment) % kAlignment;
  std::fill_n(at(0), size_, kPoison);
}

GuardedTensor::GuardedTensor(const HostTensor& values) : GuardedTensor(values.dtype(), values.shape()) {
  before_.assign(values.bytes().begin(), values.bytes().end());
  std::ranges::copy(before_, at(0));
}

HostTensor GuardedTensor::values() const {
  HostTensor out(dtype_, shape_);
  std::copy_n(at(0), size_, out.bytes().begin());
  return out;
}

void GuardedTensor::check(const std::string& where, const FaultReport& report, Index expected) const {
  if (!report) return;
  const bool before = all_equal(storage_.data(), begin_, kCanary);
  const bool behind = all_equal(at(size_), storage_.size() - begin_ - size_, kCanary);
  if (!before || !behind) {
    report({"memory.canary", where,
            fmt::format("bytes {} a buffer of {} bytes were overwritten", before ? "behind" : "before", size_)});
  }
  if (!before_.empty()) {
    if (std::memcmp(before_.data(), at(0), size_) != 0) report({"memory.input", where, "an input was changed"});
    return;
  }
  const std::size_t width = size_bytes(dtype_);
  const auto elements = expected < 0 ? size_ / width : static_cast<std::size_t>(expected);
  std::size_t unwritten = 0, first = 0;
  for (std::size_t i = elements; i-- > 0;) {
    if (!all_equal(at(i * width), width, kPoison)) continue;
    ++unwritten;
    first = i;
  }
  if (unwritten == 0) return;
  report({"memory.unwritten", where,
          fmt::format("{} of {} elements were not written, the first is [{}]", unwritten, elements, first)});
}

}  // namespace mlbench::harness
