// How entries of one cache come to another (spec methods.md, section 10). A cache knows slots, bytes and its one
// transport; whether the other end is a thread, a process or a machine, the transport knows. One for the caches of one
// process stands in in_process_kv.h.
//
// Workers are numbered over all instances, those of an instance in a row, stage by stage. What the w-th of one instance
// sends goes to the w-th of the other, which has the same layers and heads.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "core/dtype.h"
#include "models/kv_transfer.h"
#include "models/parts.h"

namespace mlbench::backends {

// What makes the entries of one cache those of another of the same model.
struct KvEndpoint {
  Split split;                             // of the instance
  Index layers = 0, heads = 0, width = 0;  // of this worker
  DType dtype = DType::f32;
  Index page_size = 0;
  Index slots = 0;  // how many there are: may differ
};
// Throws parallel.unsupported, naming what differs.
void require_alike(const KvEndpoint& sender, const KvEndpoint& receiver);

// Entries as a cache stores them, and the receiver's slots for them.
struct KvEntries {
  SlotRuns slots;
  std::vector<std::byte> keys, values;  // [L, slots.size(), Hkv, d]
};

// One end; it must outlive its cache. What it cannot do because the system fails it throws as backend.failed.
class KvTransport {
 public:
  virtual ~KvTransport() = default;

  // The cache of this end, told once, before all else. `own.split` is left for the transport to fill in.
  virtual void attach(const KvEndpoint& own) = 0;
  [[nodiscard]] virtual KvEndpoint own() const = 0;
  // The worker that gets what this one sends to the instance whose first worker is `receiver_offset`. Throws
  // kv.bad_argument where no other instance begins there, kv.state where its cache is not attached yet.
  [[nodiscard]] virtual KvEndpoint receiver(Index receiver_offset) const = 0;
  // Keeps a copy and does not wait for the receiver, which may be driven by the same thread. Entries arrive in the
  // order in which they were sent.
  virtual void send(Index receiver_offset, const KvEntries& entries) = 0;
  // The next entries for this end. Waits for them, or throws kv.state where nobody could send while it waits.
  [[nodiscard]] virtual KvEntries receive() = 0;
};

// The ends of one worker, a cache after another: the n-th cache of a worker meets the n-th of every other. So all make
// theirs in the same order.
class KvTransports {
 public:
  virtual ~KvTransports() = default;

  // Of the next cache.
  [[nodiscard]] virtual std::shared_ptr<KvTransport> next() = 0;
  // Whether something that was sent has not gone yet. Where nothing moves by itself, moves it on: whoever has nothing
  // else to do asks until it is false.
  [[nodiscard]] virtual bool moving() { return false; }
};

}  // namespace mlbench::backends
