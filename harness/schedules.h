// All methods are schedules of one function: the same tokens, whole, in chunks, one by one, in a batch, as a token
// tree, on pages of any size, after a fork, must come to the same (spec methods.md, section 3). Every pair is compared
// on the backend, row by row and tap by tap.
#pragma once

#include "harness/chained.h"

namespace mlbench::harness {

struct ScheduleResults {
  std::vector<ScheduleComparison> pairs;
  std::vector<Invariance> invariances;  // run to run, batch, taps on = off; split = in one piece
};

// One sequence in many ways: stories whose calls hold its tokens in order, as sequence kOwnSequence. Where results
// depend on how a prompt is cut (dynamic and longrope scaling), only those that do not cut it.
inline constexpr SeqId kOwnSequence = 5;
[[nodiscard]] Plan make_schedules(const ModelConfig& config, std::uint64_t seed);

// Bytes that the compared rows take at most at once, of a backend whose taps are float32 or narrower.
[[nodiscard]] std::uint64_t schedules_bytes(const ModelConfig& config);

// Two schedules of an honest backend both lie within the noise floor of the exact values, so they differ by at most
// twice its limit in each row of each tap. `room`: bytes of rows that may be held at once; by default little beside the
// weights. `in_one_piece`: of a split model, the session of the whole; then the same run twice has to give the same
// bits, and how far the two sessions differ is reported.
[[nodiscard]] ScheduleResults compare_schedules(const ref::Reference& reference, const ErrorModel& errors,
                                                backends::Session& session, std::uint64_t seed,
                                                const FaultReport& fault, std::optional<std::uint64_t> room = {},
                                                backends::Session* in_one_piece = nullptr);

}  // namespace mlbench::harness
