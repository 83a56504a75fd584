// Chained verification: the backend runs freely, as for a user. How far it may stray is measured, not guessed: in each
// row of each tap as far as runs of the reference do whose values are moved at random by the same rounding
// (chained_reference.h).
#pragma once

#include <functional>

#include "harness/error_model.h"
#include "harness/given_taps.h"
#include "harness/guarded.h"
#include "harness/isolated.h"
#include "harness/logits_agreement.h"
#include "harness/plan.h"
#include "reference/reference.h"

namespace mlbench::harness {

// Sees what the backend gave of a call.
using CallListener = std::function<void(const Call&, const GivenTaps&)>;

// Whether the session has a cache of the story's kind; windows are what it may lack.
[[nodiscard]] backends::Support has_cache_for(const Story& story, backends::Session& session);

struct CallOptions {
  const HostTensor* rows = nullptr;            // T [N, h] in place of the embedded tokens
  std::optional<std::span<const TapId>> taps;  // only these beside the result; absent: all
  FaultReport fault;                           // null: nobody looks
};

// Calls the method in `cache` as a user would, with what stands before it and around it, in guarded memory and with
// padding that is no number. The result stands under the tap that it is, logits or final_norm.
[[nodiscard]] GivenTaps run_call(const Call& call, const ModelConfig& config, backends::Session& session,
                                 backends::KvCache& cache, const CallOptions& options = {});

struct ChainedOptions {
  Inputs inputs = Inputs::random;
  std::uint64_t seed = 1;
  FaultReport fault;              // null: nobody looks
  CallListener listener;          // null: nobody listens
  LogitsMeter* logits = nullptr;  // gets the logits of every call
};

// Runs a story in a dirty cache of the session and shows every check to `report`. The session is only asked for its
// methods; taps that it does not give are left out.
void verify_chained(const Story& story, const ref::Reference& reference, const ErrorModel& error_model,
                    backends::Session& session, const ChainedOptions& options, const Report& report);

}  // namespace mlbench::harness
