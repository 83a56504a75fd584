#include "backends/gpu/device_cache.h"

#include <vector>

namespace mlbench::gpu {
namespace {

std::uint64_t bytes_of_pages(const stack::KvShape& shape, Index pages, Index page_size) {
  return static_cast<std::uint64_t>(shape.layers * 2 * pages * shape.heads * page_size * shape.width) *
         size_bytes(shape.dtype);
}

}  // namespace

DeviceCache::DeviceCache(Runtime& runtime, Stream& stream, const stack::KvShape& shape, const KvLimits& limits)
    : PagedCache(shape, limits),
      runtime_(runtime),
      stream_(stream),
      data_(runtime, bytes_of_pages(shape, num_pages(), page_size()), "the cache"),
      view_{.stored = shape.dtype,
            .data = data_.data(),
            .layers = shape.layers,
            .pages = num_pages(),
            .heads = shape.heads,
            .page_size = page_size(),
            .width = shape.width},
      growing_(runtime) {}

void DeviceCache::copy_slots(std::span<const stack::SlotRun> runs) {
  std::vector<SlotCopyRun> narrow;
  for (const stack::SlotRun& run : runs) {
    narrow.push_back(
        {static_cast<std::int32_t>(run.from), static_cast<std::int32_t>(run.to), static_cast<std::int32_t>(run.count)});
  }
  const std::uint64_t bytes = narrow.size() * sizeof(SlotCopyRun);
  auto* device = static_cast<SlotCopyRun*>(growing_.reserve(slots_, bytes, "slots to copy"));
  runtime_.copy_in(stream_, device, narrow.data(), bytes);
  runtime_.kernels().copy_slots(stream_, {.cache = view_, .runs = device, .count = static_cast<Index>(narrow.size())});
  stream_.synchronize();
}

EntriesCall DeviceCache::prepare(Index layer, Index layers, Index kind, std::span<const Index> slots) const {
  const std::vector<std::int32_t> narrow(slots.begin(), slots.end());
  EntriesCall call{.cache = view_,
                   .layer = layer,
                   .layers = layers,
                   .kind = kind,
                   .slots = nullptr,
                   .count = static_cast<Index>(slots.size()),
                   .entries = nullptr};
  const std::uint64_t bytes = narrow.size() * sizeof(std::int32_t);
  auto* device = static_cast<std::int32_t*>(growing_.reserve(slots_, bytes, "slots of entries"));
  runtime_.copy_in(stream_, device, narrow.data(), bytes);
  stream_.synchronize();
  call.slots = device;
  call.entries = growing_.reserve(entries_, bytes_of(call), "entries");
  return call;
}

std::uint64_t DeviceCache::bytes_of(const EntriesCall& call) const {
  return static_cast<std::uint64_t>(call.layers * call.count * view_.heads * view_.width) * size_bytes(view_.stored);
}

void DeviceCache::read(Index layer, Index layers, Index kind, std::span<const Index> slots, std::byte* out) const {
  const EntriesCall call = prepare(layer, layers, kind, slots);
  runtime_.kernels().export_entries(stream_, call);
  runtime_.copy_out(stream_, out, call.entries, bytes_of(call));
  stream_.synchronize();
}

void DeviceCache::read_layer(Index layer, Index kind, std::span<const Index> slots, std::byte* out) const {
  read(layer, 1, kind, slots, out);
}

void DeviceCache::read_entries(std::span<const Index> slots, std::byte* keys, std::byte* values) const {
  read(0, view_.layers, 0, slots, keys);
  read(0, view_.layers, 1, slots, values);
}

void DeviceCache::write_entries(std::span<const Index> slots, const std::byte* keys, const std::byte* values) {
  for (const Index kind : {Index{0}, Index{1}}) {
    const EntriesCall call = prepare(0, view_.layers, kind, slots);
    runtime_.copy_in(stream_, call.entries, kind == 0 ? keys : values, bytes_of(call));
    runtime_.kernels().import_entries(stream_, call);
    stream_.synchronize();
  }
}

}  // namespace mlbench::gpu
