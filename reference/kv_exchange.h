// Which cache takes what another sends (spec methods.md, section 10): the workers of all instances of one process, by
// number. An instance is a model, whole or split, with a cache for each of its workers, whose numbers follow each
// other. What the w-th worker of one instance computes goes to the w-th of the other, which has the same layers and
// heads.
#pragma once

#include <span>
#include <vector>

#include "models/parts.h"
#include "reference/paged_kv_cache.h"

namespace mlbench::ref {

class KvExchange {
 public:
  // The caches of an instance, one for each worker of its split, get the next numbers, and may send from now on.
  // Returns the first number: the instance's receiver_offset. Caches and exchange must stay where they are. Throws
  // kv.bad_argument where there are not as many caches as workers.
  Index join(std::span<PagedKvCache> caches, const Split& split = {});

  // The cache to which `sender` sends in the instance whose first number is `receiver_offset`. Throws kv.bad_argument
  // where none other begins there, parallel.unsupported where its entries would not be the sender's (another split,
  // shape, page size or rope mode), kv.state where the sender has not joined, or was moved since.
  [[nodiscard]] PagedKvCache& receiver_of(const PagedKvCache& sender, Index receiver_offset) const;

 private:
  struct Instance {
    Index first = 0;
    Split split;
    std::span<PagedKvCache> caches;
  };
  [[nodiscard]] const Instance& instance_of(const PagedKvCache& cache) const;
  [[nodiscard]] const Instance& instance_at(Index first) const;

  std::vector<Instance> instances_;
};

}  // namespace mlbench::ref
