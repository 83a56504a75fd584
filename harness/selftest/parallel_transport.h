// What the prefill instance sends by mistake to the decode instance.
#pragma once

#include <map>
#include <memory>

#include "backends/backend.h"
#include "backends/kv_transport.h"
#include "core/tensor_view.h"
#include "harness/selftest/parallel_planted.h"

namespace mlbench::selftest {

// Keys of the call before they are rotated, by layer of the whole model: [T, Hkv * d].
using UnrotatedKeys = std::map<Index, HostTensor>;

// Of a worker that sends, whose honest transports are `transports`; without a mistake of its own it is those.
// `unrotated`: what its session computes now; `first_layer`: of its part.
[[nodiscard]] std::shared_ptr<backends::KvTransports> make_lying_transports(
    std::shared_ptr<backends::KvTransports> transports, const ParallelPlanted& planted,
    std::shared_ptr<const UnrotatedKeys> unrotated, Index first_layer);

// A session that keeps the unrotated keys of every call.
[[nodiscard]] std::unique_ptr<backends::Session> keeping_keys(std::unique_ptr<backends::Session> session,
                                                              std::shared_ptr<UnrotatedKeys> keys);

// The worker whose end a worker has: the next shard's where it sends there.
[[nodiscard]] Index end_of(const ParallelPlanted& planted, const Split& split, Index worker);

}  // namespace mlbench::selftest
