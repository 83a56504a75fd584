// Isolated verification: every part of the stack runs on the reference's own input, and every tap is held against what
// the reference computes from the taps that the backend itself gave just before. So an error shows where it is made,
// and its bound is that of one operator.
#pragma once

#include <functional>

#include "core/results.h"
#include "harness/error_model.h"
#include "harness/plan.h"
#include "reference/reference.h"

namespace mlbench::harness {

using Report = std::function<void(TapCheck)>;

// Runs a story in a fresh cache of the session and shows every check to `report`.
void verify_isolated(const Story& story, const ref::Reference& reference, const ErrorModel& model,
                     backends::Session& session, const Report& report);

}  // namespace mlbench::harness
