#include "harness/dirty_cache.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "harness/plan.h"
#include "reference/tensor.h"

namespace mlbench::harness {
namespace {

// Appends rows of NaN to a new sequence; how many fit is asked of the cache alone.
void fill_sequence(SeqId id, Index rows, const ModelConfig& config, const KvLimits& limits, backends::Session& session,
                   backends::KvCache& cache) {
  cache.add_sequence(id);
  for (Index done = 0; done < rows;) {
    const Index length = std::min(rows - done, limits.prefill_chunk_size);
    ref::Tensor values(Shape{1, length, config.hidden_size});
    std::ranges::fill(values.values(), std::numeric_limits<double>::quiet_NaN());
    const DType type = session.arithmetic().activations;
    const HostTensor x(type, values);
    HostTensor out(type, x.shape());
    const SeqId ids[] = {id};
    const Index lengths[] = {length};
    cache.begin_forward(ids, lengths, std::nullopt);
    session.forward(backends::Method::prefill_to_last_hidden_states, x.view(), {}, cache, out.view(), nullptr);
    session.synchronize();
    cache.end_forward();
    done += length;
  }
}

}  // namespace

void make_dirty(const ModelConfig& config, const KvLimits& limits, backends::Session& session, backends::KvCache& cache,
                const FaultReport& report) {
  const Index pages = cache.num_available_pages();
  for (SeqId id = 0; id < limits.max_batch_size; ++id) {
    const Index slots = cache.num_available_pages() * limits.page_size;
    // Dynamic scaling is there to be run past the model's positions.
    const bool endless = config.rope.kind == RopeKind::dynamic;
    const Index room = endless ? slots : std::min(slots, longest_sequence(config));
    if (room < 1) break;
    fill_sequence(id, room, config, limits, session, cache);
  }
  cache.clear();
  if (!cache.empty() || cache.num_available_pages() != pages) {
    report({"cache.pages", "clear",
            fmt::format("a cleared cache has {} of its {} pages and {} entries", cache.num_available_pages(), pages,
                        cache.total_sequence_length())});
  }
}

}  // namespace mlbench::harness
