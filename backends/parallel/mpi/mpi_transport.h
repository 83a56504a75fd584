// Entries of caches that go from one instance of a disaggregated run to the other, as MPI messages: worker w of one to
// worker w of the other, in a communicator of their own, so that they never meet sums or rows of stages.
//
// Of one send: how many bytes and runs of slots, the runs, then layer by layer keys and values. What is sent is copied,
// and goes while its receiver takes it and this rank is in MPI: KvTransports::moving() keeps it going where the rank
// has nothing else to do. When its cache is made, each end tells the other what its entries are like (KvEndpoint).
#pragma once

#include <atomic>
#include <memory>

#include "backends/backend.h"
#include "backends/kv_transport.h"
#include "backends/parallel/rank_protocol.h"

namespace mlbench::parallel {

// Of worker `rank` of both instances, 0..workers_of(run) - 1; all of them call it together. `doing` says `waiting`
// while it waits for another.
[[nodiscard]] std::shared_ptr<backends::KvTransports> make_mpi_transports(const backends::RunConfig& run, Index rank,
                                                                          std::atomic<Doing>& doing);

}  // namespace mlbench::parallel
