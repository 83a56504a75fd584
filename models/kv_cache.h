// The vocabulary of the paged KV cache that callers and every implementation share (spec methods.md, sections 4 to 6).
#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace mlbench {

using SeqId = std::int64_t;

// The arguments of create_paged_kv_cache.
struct KvLimits {
  Index max_batch_size = 1;      // live sequences
  Index max_total_seq_len = 0;   // entries over all sequences; decides the number of pages
  Index prefill_chunk_size = 0;  // rows of one forward
  Index page_size = 16;
  bool support_sliding_window = false;
};

// none: keys are stored as computed. normal: rotated when appended, stored rotated. in_line: stored unrotated, rotated
// when used by their current index in the sequence; what a sliding window needs, because it moves entries to other
// indices.
enum class RopeMode { none, normal, in_line };

}  // namespace mlbench
