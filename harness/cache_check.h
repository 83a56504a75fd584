// What a backend's cache says and holds, against the reference's: positions, lengths, and every entry to the bit.
#pragma once

#include <set>

#include "harness/guarded.h"
#include "harness/isolated.h"
#include "harness/replicas.h"

namespace mlbench::harness {

class CacheCheck {
 public:
  // `replica` of the reference holds the backend's own keys and values, as its taps showed them.
  CacheCheck(backends::KvCache& cache, const Replicas& replicas, Index replica, const FaultReport& fault)
      : cache_(cache), replicas_(replicas), replica_(replica), fault_(fault), pages_(cache.num_available_pages()) {}

  // Between begin_forward and end_forward of a call: positions.
  void begin(const Call& call, const std::vector<std::int32_t>& positions);
  // After it: lengths, and the entries of all live sequences as two checks, cache.k and cache.v.
  void end(const TapPlace& place, const ModelConfig& config, DType type, const Report& report);
  // At the end of a story: removes every sequence that is left; the fault cache.pages where not all pages are free
  // then.
  void finish(const std::string& story);

 private:
  backends::KvCache& cache_;
  const Replicas& replicas_;
  Index replica_;
  const FaultReport& fault_;
  Index pages_;  // of the empty cache
  std::set<SeqId> live_;
};

// The fault cache.positions where a cache says other positions than the reference's.
void check_positions(const Call& call, const std::vector<std::int32_t>& expected,
                     const std::vector<std::int32_t>& positions, const FaultReport& fault);

}  // namespace mlbench::harness
