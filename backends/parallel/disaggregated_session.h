// A model that is held twice, behind the interface of one that is held once: one instance computes prompts, the other
// finishes them and decodes (spec methods.md, section 10). So verification and measuring are those of any backend.
//
// A sequence's rows in one call, two or more and no token tree, are a piece of its prompt, whatever the method. Of such
// a piece, t_0..t_{n-1} behind the `begin` entries that the sequence has:
//
//   decode    disagg_prepare_recv(id, n - 1): slots for [begin, begin + n - 1); what stands before stays
//   prefill   computes what of [0, begin) it lacks, chunk by chunk; disagg_mark_send(id, begin, slots, the decode
//             instance's first worker); t_0..t_{n-2}, all sequences of the call together; end_forward sends
//   decode    begin_forward(id, 1) waits for these entries; t_{n-1}, as a decode; all that follows
//
//   One row       a prompt of one token, and decoding: the decode instance's alone
//   Chunks        each is such a piece: its last row is the decode instance's, and the prefill instance computes it too
//                 before the next. So begin > 0
//   Trees         the decode instance's alone; what is committed is owed as decoded rows are
//   Forks, popn   of both instances: the child, or what is left, has at the prefill instance what the parent had there
//   Results       in the order of the call's rows; those of rows of the prefill instance (logit_positions amid a
//                 prompt, batch_verify, hidden forms) are its own
//   Taps          of each row from who computed it, as rows of one call; also those that workers have among themselves
//   run_part      needs every row's result at once: all rows of a prompt's piece are the prefill instance's, whose
//                 end_forward sends them all; the entries of rows that it lacks are copied to it
//   Windows       kv.unsupported: caches that move entries are not transferred
//
// The decode instance answers for the cache, embeds, and has the output layer that get_logits asks.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "backends/backend.h"
#include "backends/parallel/worker_times.h"

namespace mlbench::parallel {

// Two sessions of one model, loaded under the same run. Their caches have transports: the n-th cache of one sends to
// the n-th of the other.
struct Instances {
  std::unique_ptr<backends::Session> prefill, decode;
  Index receiver_offset = 0;  // the number of the decode instance's first worker
  std::function<std::vector<WorkerTimes>(bool with_events)> take_times;  // of all workers, those of prefill first
};

[[nodiscard]] std::unique_ptr<backends::Session> make_disaggregated_session(const ModelConfig& config, Instances both);

}  // namespace mlbench::parallel
