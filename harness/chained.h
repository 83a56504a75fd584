// Chained verification: the backend runs freely, as for a user. How far it may stray is measured, not guessed: in each
// row of each tap as far as runs of the reference do whose values are moved at random by the same rounding
// (chained_reference.h).
#pragma once

#include <functional>

#include "harness/error_model.h"
#include "harness/given_taps.h"
#include "harness/isolated.h"
#include "harness/plan.h"
#include "reference/reference.h"

namespace mlbench::harness {

// Sees what the backend gave of a call.
using CallListener = std::function<void(const Call&, const GivenTaps&)>;

// Calls the method in `cache` as a user would, with what stands before it and around it. The result stands under the
// tap that it is, logits or final_norm.
[[nodiscard]] GivenTaps run_call(const Call& call, const ModelConfig& config, backends::Session& session,
                                 backends::KvCache& cache);

// Runs a story in a fresh cache of the session and shows every check to `report`. The session is only asked for its
// methods; taps that it does not give are left out.
void verify_chained(const Story& story, const ref::Reference& reference, const Model& model,
                    const ErrorModel& error_model, std::uint64_t seed, backends::Session& session, const Report& report,
                    const CallListener& listener = nullptr);

}  // namespace mlbench::harness
