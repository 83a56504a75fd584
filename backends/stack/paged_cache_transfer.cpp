// Entries that come from another cache, and entries that go to one.
#include <utility>

#include <fmt/format.h>

#include "backends/stack/paged_cache.h"
#include "core/error.h"

namespace mlbench::stack {

using backends::KvEndpoint;
using backends::KvEntries;

void PagedCache::connect(backends::KvTransport& transport) {
  if (transport_ != nullptr) throw request_error("kv.state", "connect: the cache has a transport already");
  transport.attach({.split = {},
                    .layers = shape_.layers,
                    .heads = shape_.heads,
                    .width = shape_.width,
                    .dtype = shape_.dtype,
                    .page_size = page_size_,
                    .slots = num_pages() * page_size_});
  transport_ = &transport;
}

void PagedCache::connect(std::shared_ptr<backends::KvTransport> transport) {
  connect(*transport);
  kept_ = std::move(transport);
}

backends::KvTransport& PagedCache::transport(const char* operation) const {
  if (transport_ != nullptr) return *transport_;
  throw request_error("kv.state", fmt::format("{}: connect the cache to a transport first", operation));
}

std::size_t PagedCache::bytes_of(Index entries) const {
  return static_cast<std::size_t>(shape_.layers * entries * shape_.heads * shape_.width) * size_bytes(shape_.dtype);
}

SlotRuns PagedCache::disagg_prepare_recv(SeqId id, Index count) {
  (void)transport("disagg_prepare_recv");
  await(id);
  SlotRuns slots = table_.disagg_prepare_recv(id, count);
  make_pages(table_.layout(id).pages);
  return slots;
}

void PagedCache::disagg_mark_send(SeqId id, Index begin, const SlotRuns& slots, Index receiver_offset) {
  const backends::KvTransport& to = transport("disagg_mark_send");
  const KvEndpoint receiver = to.receiver(receiver_offset);
  backends::require_alike(to.own(), receiver);
  if (slots.largest() >= receiver.slots) {
    throw request_error("kv.bad_argument", fmt::format("disagg_mark_send: slot {}: the receiver has slots 0..{}",
                                                       slots.largest(), receiver.slots - 1));
  }
  await(id);
  table_.disagg_mark_send(id, begin, slots, receiver_offset);
}

void PagedCache::send(const paging::PlannedSend& planned) const {
  KvEntries entries{.slots = planned.to, .keys = {}, .values = {}};
  entries.keys.resize(bytes_of(planned.to.size()));
  entries.values.resize(bytes_of(planned.to.size()));
  read_entries(planned.from, entries.keys.data(), entries.values.data());
  transport_->send(planned.receiver_offset, entries);
}

// Within a forward nothing is waited for: what is asked then is refused anyhow.
void PagedCache::await(SeqId id) {
  while (!table_.in_forward() && table_.waits(id)) take(transport_->receive());
}

void PagedCache::take(const KvEntries& entries) {
  const std::size_t bytes = bytes_of(entries.slots.size());
  if (entries.keys.size() != bytes || entries.values.size() != bytes) {
    throw Error(ErrorKind::internal, "backend.failed",
                fmt::format("entries for {} slots came as {} and {} bytes: expected {} of each", entries.slots.size(),
                            entries.keys.size(), entries.values.size(), bytes));
  }
  if (!table_.receive(entries.slots)) return;
  write_entries(entries.slots.slots(), entries.keys.data(), entries.values.data());
}

}  // namespace mlbench::stack
