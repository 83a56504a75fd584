// The paged KV cache in a device's memory: all pages in one piece, made when the cache is.
#pragma once

#include "backends/gpu/growing.h"
#include "backends/gpu/runtime.h"
#include "backends/stack/paged_cache.h"

namespace mlbench::gpu {

class DeviceCache final : public stack::PagedCache {
 public:
  // Runtime and stream, a session's, must outlive the cache.
  DeviceCache(Runtime& runtime, Stream& stream, const stack::KvShape& shape, const KvLimits& limits);

  [[nodiscard]] const CacheView& view() const { return view_; }
  // Entries of these slots of one layer, [slots, Hkv, d]; kind as in CacheView.
  void read_layer(Index layer, Index kind, std::span<const Index> slots, std::byte* out) const;

 private:
  void make_pages(std::span<const Index> /*pages*/) override {}
  void copy_slots(std::span<const stack::SlotRun> runs) override;
  void read_entries(std::span<const Index> slots, std::byte* keys, std::byte* values) const override;
  void write_entries(std::span<const Index> slots, const std::byte* keys, const std::byte* values) override;

  // A call for `layers` layers from `layer` on, its slots and room for its entries on the device.
  [[nodiscard]] EntriesCall prepare(Index layer, Index layers, Index kind, std::span<const Index> slots) const;
  [[nodiscard]] std::uint64_t bytes_of(const EntriesCall& call) const;
  void read(Index layer, Index layers, Index kind, std::span<const Index> slots, std::byte* out) const;

  Runtime& runtime_;
  Stream& stream_;
  Memory data_;
  CacheView view_;
  mutable Growing growing_;
  mutable Memory slots_, entries_;
};

}  // namespace mlbench::gpu
