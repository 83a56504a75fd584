// Entries of the cache: copied to other slots, and as contiguous tensors. Bits are copied, never rounded; equal to what
// reference/paged_kv_cache.h does on its own pages.
#pragma once

#include "backends/gpu/kernels/row_packs.h"

namespace mlbench::gpu::MLBENCH_GPU_TARGET {

// 16 bytes.
template <class T>
inline constexpr int kWide = 16 / static_cast<int>(sizeof(T));

// Whether entries of this width, whose first begins there, can be taken in 16 bytes.
template <class T>
GPU_DEVICE bool in_wide_packs(const T* first, Index width) {
  return width % kWide<T> == 0 && reinterpret_cast<std::uintptr_t>(first) % 16 == 0;
}

// ---- copy_slots: entries [from, from + count) to [to, to + count), in all layers ----
//
// A block owns a head's keys, or values, of a layer; in it the entries of a page stand one after the other. Its threads
// copy a run together, 16 bytes each where width and address allow it, and take runs in order: a later run may read
// what an earlier one wrote. Between reading and writing a stretch they wait for each other, so that a run may also
// overlap itself where its target lies before its source. Moves twice the entries' bytes.
template <int n, class T>
GPU_DEVICE void copy_run(const CacheView& cache, const SlotCopyRun& run) {
  const Index head = block_place().x % cache.heads, of_layer = block_place().x / cache.heads;
  T* data = static_cast<T*>(cache.data);
  const T* from = data + cache.offset(of_layer / 2, of_layer % 2, run.from, head);
  T* to = data + cache.offset(of_layer / 2, of_layer % 2, run.to, head);
  const Index size = run.count * cache.width, stretch = static_cast<Index>(block_extent().x) * n;
  for (Index begin = 0; begin < size; begin += stretch) {
    const Index i = begin + thread_place().x * n;
    Pack<T, n> values{};
    if (i < size) values = load_pack<T, n>(from + i);
    barrier();
    if (i < size) store_pack<T, n>(to + i, values);
    barrier();
  }
}

template <int W, DType type>
GPU_KERNEL void copy_slot_runs(CopySlotsCall call) {
  using T = typename Stored<type>::type;
  const bool wide = in_wide_packs(static_cast<T*>(call.cache.data), call.cache.width);
  for (Index run = 0; run < call.count; ++run) {
    if (wide) {
      copy_run<kWide<T>, T>(call.cache, call.runs[run]);
    } else {
      copy_run<1, T>(call.cache, call.runs[run]);
    }
  }
}

template <int W>
void launch_copy_slots(Stream& stream, const CopySlotsCall& call) {
  const Index heads = call.cache.layers * 2 * call.cache.heads;
  if (call.count == 0 || heads == 0) return;
  const Place grid{static_cast<int>(heads), 1, 1};
  const Place block{threads_for<W>(call.cache.page_size * call.cache.width, 256), 1, 1};
  with_stored(call.cache.stored, [&](auto type) { launch(copy_slot_runs<W, type()>, grid, block, 0, stream, call); });
}

// ---- export_entries, import_entries: the cache's [L, 2, pages, Hkv, page_size, d] and a tensor [L', n, Hkv, d] ----
//
// A block owns an entry of a layer, with all its heads; a thread goes over 16 bytes, or single values, a block apart.
// Moves twice the tensor's bytes.
template <int n, class T, bool exports>
GPU_DEVICE void move_entry(const EntriesCall& call) {
  const CacheView& cache = call.cache;
  const Index entry = block_place().x % call.count, layer = call.layer + block_place().x / call.count;
  const int width = static_cast<int>(cache.width), size = static_cast<int>(cache.heads) * width;
  T* tensor = static_cast<T*>(call.entries) + static_cast<Index>(block_place().x) * size;
  const Columns columns = all_columns<n>(size);
  for (int i = columns.first; i < columns.end; i += columns.step) {
    T* cached = static_cast<T*>(cache.data) + cache.offset(layer, call.kind, call.slots[entry], i / width) + i % width;
    if constexpr (exports) {
      store_pack<T, n>(tensor + i, load_pack<T, n>(cached));
    } else {
      store_pack<T, n>(cached, load_pack<T, n>(tensor + i));
    }
  }
}

template <int W, DType type, bool exports>
GPU_KERNEL void move_entries(EntriesCall call) {
  using T = typename Stored<type>::type;
  if (in_wide_packs(static_cast<T*>(call.cache.data), call.cache.width) &&
      in_wide_packs(static_cast<T*>(call.entries), call.cache.width)) {
    move_entry<kWide<T>, T, exports>(call);
  } else {
    move_entry<1, T, exports>(call);
  }
}

template <int W, bool exports>
void launch_move_entries(Stream& stream, const EntriesCall& call) {
  const Index size = call.cache.heads * call.cache.width;
  if (call.layers == 0 || call.count == 0 || size == 0) return;
  const Place grid{static_cast<int>(call.layers * call.count), 1, 1};
  const Place block{threads_for<W>(size, 256), 1, 1};
  with_stored(call.cache.stored,
              [&](auto type) { launch(move_entries<W, type(), exports>, grid, block, 0, stream, call); });
}

template <int W>
void launch_export_entries(Stream& stream, const EntriesCall& call) {
  launch_move_entries<W, true>(stream, call);
}

template <int W>
void launch_import_entries(Stream& stream, const EntriesCall& call) {
  launch_move_entries<W, false>(stream, call);
}

}  // namespace mlbench::gpu::MLBENCH_GPU_TARGET
