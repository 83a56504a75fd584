// Isolated verification: every part of the stack runs on the reference's own input, and every tap is held against what
// the reference computes from the taps that the backend itself gave just before. So an error shows where it is made,
// and its bound is that of one operator.
#pragma once

#include <functional>

#include "core/results.h"
#include "harness/check_tap.h"
#include "harness/error_model.h"
#include "harness/guarded.h"
#include "harness/plan.h"
#include "reference/reference.h"

namespace mlbench::harness {

struct IsolatedOptions {
  Inputs inputs = Inputs::random;
  FaultReport fault;  // null: nobody looks
};

// Runs a story in a dirty cache of the session and shows every check to `report`. Beside the taps: what the cache holds
// of every live sequence after each call, bit for bit (cache.k, cache.v), and the rows that
// batch_select_last_hidden_states picks (batch_select).
void verify_isolated(const Story& story, const ref::Reference& reference, const ErrorModel& model,
                     backends::Session& session, const IsolatedOptions& options, const Report& report);

}  // namespace mlbench::harness
