#include "backends/gpu/kernels/pages.h"

#include <algorithm>

#include "tests/backends/gpu/kernel_test.h"

namespace mlbench::gpu {
namespace {

using test::kStored;
using test::NoStream;
using test::on_every_warp;

constexpr Index kLayers = 2, kPages = 4, kHeads = 3, kPageSize = 8;

using Bytes = std::vector<std::byte>;

// Scattered bits, NaNs with payloads among them: what is copied must not be rounded.
Bytes some_bytes(std::size_t count, std::uint64_t seed) {
  Bytes out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(static_cast<std::byte>(scattered(seed, i)));
  return out;
}

// Scattered bits, `offset` values from where 16 bytes may be read.
struct Placed {
  Placed(std::size_t count, std::uint64_t seed, std::size_t offset) : bytes(some_bytes(count + 16 + offset, seed)) {
    begin = (16 - reinterpret_cast<std::uintptr_t>(bytes.data()) % 16) % 16 + offset;
  }
  [[nodiscard]] std::byte* data() { return bytes.data() + begin; }

  Bytes bytes;
  std::size_t begin = 0;
};

struct Cache : Placed {
  Cache(DType type, Index width, Index offset)
      : Placed(static_cast<std::size_t>(kLayers * 2 * kPages * kHeads * kPageSize * width) * size_bytes(type), 1,
               static_cast<std::size_t>(offset) * size_bytes(type)),
        view{.stored = type,
             .data = data(),
             .layers = kLayers,
             .pages = kPages,
             .heads = kHeads,
             .page_size = kPageSize,
             .width = width} {}

  CacheView view;
};

// An entry of the cache, in bytes of `cache`.
Bytes::iterator entry(const Cache& cache, Bytes& bytes, Index layer, Index kind, Index slot, Index head) {
  const auto value = static_cast<Index>(size_bytes(cache.view.stored));
  return bytes.begin() + static_cast<Index>(cache.begin) + cache.view.offset(layer, kind, slot, head) * value;
}

Index entry_bytes(const Cache& cache) { return cache.view.width * static_cast<Index>(size_bytes(cache.view.stored)); }

// Calls test(warp, type, width, offset) for widths that are, and are not, whole multiples of 16 bytes.
template <class Test>
void on_every_cache(const Test& test) {
  on_every_warp([&](auto warp) {
    for (const DType type : kStored) {
      for (const Index width : {1, 4, 7, 8, 80, 133}) {
        for (const Index offset : {0, 1}) {
          SCOPED_TRACE(testing::Message() << name(type) << ", width " << width << ", offset " << offset);
          test(warp, type, width, offset);
        }
      }
    }
  });
}

// ---- copy_slots ----

// One entry after the other, all layers, keys and values, heads.
void copy_in_order(const Cache& cache, Bytes& bytes, const std::vector<SlotCopyRun>& runs) {
  for (Index of = 0; of < kLayers * 2 * kHeads; ++of) {
    const Index layer = of / (2 * kHeads), kind = of / kHeads % 2, head = of % kHeads;
    for (const SlotCopyRun& run : runs) {
      for (std::int32_t i = 0; i < run.count; ++i) {
        std::copy_n(entry(cache, bytes, layer, kind, run.from + i, head), entry_bytes(cache),
                    entry(cache, bytes, layer, kind, run.to + i, head));
      }
    }
  }
}

void expect_copied(const std::vector<SlotCopyRun>& runs) {
  on_every_cache([&](auto warp, DType type, Index width, Index offset) {
    Cache cache(type, width, offset);
    Bytes expected = cache.bytes;
    copy_in_order(cache, expected, runs);
    NoStream stream;
    host_device::launch_copy_slots<warp()>(
        stream, {.cache = cache.view, .runs = runs.data(), .count = static_cast<Index>(runs.size())});
    EXPECT_TRUE(cache.bytes == expected);
  });
}

TEST(CopySlotsKernel, CopiesRunsInAllLayersAndNothingElse) { expect_copied({{0, 8, 8}, {17, 26, 3}, {22, 31, 1}}); }

// A path of a token tree moves up: the second run reads where the first has written, a third what it has written.
TEST(CopySlotsKernel, TakesRunsInOrder) { expect_copied({{12, 11, 1}, {13, 12, 1}, {12, 30, 1}, {15, 13, 1}}); }

// What a later run reads was written by other threads.
TEST(CopySlotsKernel, ALaterRunSeesAllOfAnEarlierOne) { expect_copied({{8, 0, 3}, {1, 20, 2}, {21, 30, 1}}); }

TEST(CopySlotsKernel, ARunMayMoveDownOverItself) { expect_copied({{1, 0, 7}, {18, 16, 5}}); }

TEST(CopySlotsKernel, OfNoRunsDoesNothing) {
  Cache cache(DType::bf16, 8, 0);
  NoStream stream;
  host_device::launch_copy_slots<32>(stream, {.cache = cache.view});
  host_device::launch_copy_slots<32>(stream, {.cache = {}, .count = 1});
}

// ---- export_entries, import_entries ----

const std::vector<std::int32_t> kSlots = {5, 31, 0, 14, 15};
constexpr Index kCount = 5;

// Where entry i of the tensor's layer begins, in its bytes.
Bytes::iterator in_tensor(const Cache& cache, const Placed& tensor, Bytes& bytes, Index layer, Index i, Index head) {
  return bytes.begin() + static_cast<Index>(tensor.begin) + ((layer * kCount + i) * kHeads + head) * entry_bytes(cache);
}

// Calls test(warp, cache, call, tensor): all the layers, and the last; keys, and values; the tensor moved.
template <class Test>
void on_every_transfer(const Test& test) {
  on_every_cache([&](auto warp, DType type, Index width, Index offset) {
    for (const auto& [layer, layers] : {std::pair<Index, Index>(0, kLayers), {1, 1}}) {
      for (const auto& [kind, moved] : {std::pair<Index, Index>(0, 0), {1, 0}, {0, 1}}) {
        Cache cache(type, width, offset);
        Placed tensor(static_cast<std::size_t>(layers * kCount * kHeads * entry_bytes(cache)), 2,
                      static_cast<std::size_t>(moved) * size_bytes(type));
        const EntriesCall call{.cache = cache.view,
                               .layer = layer,
                               .layers = layers,
                               .kind = kind,
                               .slots = kSlots.data(),
                               .count = kCount,
                               .entries = tensor.data()};
        test(warp, cache, call, tensor);
      }
    }
  });
}

// Calls copy(in the cache, in the tensor) with where each head of each entry stands.
template <class Copy>
void each_entry(const Cache& cache, const Placed& tensor, const EntriesCall& call, Bytes& cached, Bytes& entries,
                const Copy& copy) {
  for (Index layer = 0; layer < call.layers; ++layer) {
    for (Index i = 0; i < kCount; ++i) {
      for (Index head = 0; head < kHeads; ++head) {
        copy(entry(cache, cached, call.layer + layer, call.kind, kSlots[static_cast<std::size_t>(i)], head),
             in_tensor(cache, tensor, entries, layer, i, head));
      }
    }
  }
}

TEST(ExportEntriesKernel, GivesTheBitsOfTheEntries) {
  on_every_transfer([](auto warp, Cache& cache, const EntriesCall& call, Placed& tensor) {
    Bytes expected = tensor.bytes, before = cache.bytes;
    each_entry(cache, tensor, call, before, expected,
               [&](auto in_cache, auto in_entries) { std::copy_n(in_cache, entry_bytes(cache), in_entries); });
    NoStream stream;
    host_device::launch_export_entries<warp()>(stream, call);
    EXPECT_TRUE(tensor.bytes == expected);
    EXPECT_TRUE(cache.bytes == before);
  });
}

TEST(ImportEntriesKernel, SetsTheEntriesAndNothingElse) {
  on_every_transfer([](auto warp, Cache& cache, const EntriesCall& call, Placed& tensor) {
    Bytes expected = cache.bytes, before = tensor.bytes;
    each_entry(cache, tensor, call, expected, before,
               [&](auto in_cache, auto in_entries) { std::copy_n(in_entries, entry_bytes(cache), in_cache); });
    NoStream stream;
    host_device::launch_import_entries<warp()>(stream, call);
    EXPECT_TRUE(cache.bytes == expected);
    EXPECT_TRUE(tensor.bytes == before);
  });
}

TEST(EntriesKernels, OfNothingReadNothing) {
  Cache cache(DType::bf16, 8, 0);
  NoStream stream;
  host_device::launch_export_entries<32>(stream, {.cache = cache.view, .layers = 1});
  host_device::launch_import_entries<32>(stream, {.cache = cache.view, .count = 1});
  host_device::launch_import_entries<32>(stream, {.cache = {}, .layers = 1, .count = 1});
}

TEST(PageKernels, RefuseATypeThatIsNotStored) {
  Cache cache(DType::bf16, 8, 0);
  cache.view.stored = DType::f64;
  NoStream stream;
  const CopySlotsCall copy{.cache = cache.view, .count = 1};
  EXPECT_EQ(test::code_of([&] { host_device::launch_copy_slots<32>(stream, copy); }), "backend.failed");
  const EntriesCall entries{.cache = cache.view, .layers = 1, .count = 1};
  EXPECT_EQ(test::code_of([&] { host_device::launch_export_entries<32>(stream, entries); }), "backend.failed");
}

}  // namespace
}  // namespace mlbench::gpu
