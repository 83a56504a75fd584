// A backend over parallel configurations: a model whose parts several workers hold, behind the interface of one that is
// in one piece. So verification and measuring are those of any backend.
//
// Everybody is asked the same in the same order, replicas of the whole, too. What all have is compared bit by bit;
// columns, heads and layers are put together as models/parts.h says. Beside the taps of the model there are those of
// the workers among themselves (Tap::attn_part and what follows it). Where workers differ in what must be the same, or
// one of them fails, the error is ErrorKind::internal, backend.failed, and names it.
#pragma once

#include <functional>
#include <memory>

#include "backends/backend.h"
#include "backends/parallel/part_holders.h"
#include "backends/parallel/team.h"

namespace mlbench::parallel {

// Who holds the parts under a run's split, of both instances where it is disaggregated; null: the backend itself holds
// the model.
using HoldersOf = std::function<PartHolders*(const backends::RunConfig& run)>;

// `backend` answers for the kind of workers that there are: what they are, what they support, memory (of all of them
// together, which may stand on one machine). load() takes the split of its RunConfig, and makes of a disaggregated run
// the session of disaggregated_session.h. All must outlive this.
[[nodiscard]] std::unique_ptr<backends::Backend> make_parallel_backend(backends::Backend& backend, HoldersOf holders);

// A model's parts as one model; `loaded` as part_of() has split it, for each replica.
[[nodiscard]] std::unique_ptr<backends::Session> make_parallel_session(const ModelConfig& config,
                                                                       const TeamShape& shape, LoadedParts loaded,
                                                                       PartHolders& holders);

}  // namespace mlbench::parallel
