#include "backends/cpu/kv_cache.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/convert.h"

namespace mlbench::cpu {
namespace {

constexpr Index kExtent = 1024;  // entries, at least a page, at most the cache

}  // namespace

PagedKvCache::PagedKvCache(const KvShape& shape, const KvLimits& limits)
    : PagedCache(shape, limits),
      row_bytes_(static_cast<std::size_t>(shape.width) * size_bytes(shape.dtype)),
      slots_(std::clamp(kExtent / page_size(), Index{1}, num_pages()) * page_size()) {}

void PagedKvCache::append(Index layer, const Heads& keys, const Heads& values) {
  const KvShape& shape = this->shape();
  for (Index row = 0; row < keys.rows; ++row) {
    const Index slot = this->slot(row);
    for (Index head = 0; head < shape.heads; ++head) {
      narrow(shape.dtype, keys.at(row, head), at(layer, kKey, slot, head), shape.width);
      narrow(shape.dtype, values.at(row, head), at(layer, kValue, slot, head), shape.width);
    }
  }
}

void PagedKvCache::make_pages(std::span<const Index> pages) {
  const Index rows = shape().layers * 2 * shape().heads * slots_;
  for (const Index index : pages) {
    const auto i = static_cast<std::size_t>(index * page_size() / slots_);
    if (extents_.size() <= i) extents_.resize(i + 1);
    extents_[i].reserve(static_cast<std::size_t>(rows) * row_bytes_);
  }
}

void PagedKvCache::copy_slots(std::span<const stack::SlotRun> runs) {
  for (const stack::SlotRun& run : runs) {
    for (Index layer = 0; layer < shape().layers; ++layer) {
      for (const Kind kind : {kKey, kValue}) {
        for (Index head = 0; head < shape().heads; ++head) {
          std::memcpy(at(layer, kind, run.to, head), at(layer, kind, run.from, head),
                      static_cast<std::size_t>(run.count) * row_bytes_);
        }
      }
    }
  }
}

template <class Cache, class Visit>
void PagedKvCache::visit_entries(Cache& cache, std::span<const Index> slots, Visit visit) {
  std::size_t offset = 0;
  for (Index layer = 0; layer < cache.shape().layers; ++layer) {
    for (const Index slot : slots) {
      for (Index head = 0; head < cache.shape().heads; ++head, offset += cache.row_bytes_) {
        for (const Kind kind : {kKey, kValue}) visit(kind, cache.at(layer, kind, slot, head), offset);
      }
    }
  }
}

void PagedKvCache::read_entries(std::span<const Index> slots, std::byte* keys, std::byte* values) const {
  visit_entries(*this, slots, [&](Kind kind, const std::byte* at, std::size_t offset) {
    std::memcpy((kind == kKey ? keys : values) + offset, at, row_bytes_);
  });
}

void PagedKvCache::write_entries(std::span<const Index> slots, const std::byte* keys, const std::byte* values) {
  visit_entries(*this, slots, [&](Kind kind, std::byte* at, std::size_t offset) {
    std::memcpy(at, (kind == kKey ? keys : values) + offset, row_bytes_);
  });
}

}  // namespace mlbench::cpu
