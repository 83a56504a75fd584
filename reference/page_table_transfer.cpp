// Entries that come from another cache, and entries that go to one (specification methods.md, section 10).
#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "reference/page_table.h"

namespace mlbench::ref {
namespace {

constexpr Index kLargest = std::numeric_limits<std::int32_t>::max();

void require_within(const char* what, Index value, Index lowest) {
  if (value >= lowest && value <= kLargest) return;
  throw request_error("kv.bad_argument", fmt::format("{} = {}: must lie within {}..{}", what, value, lowest, kLargest));
}

}  // namespace

// A sequence that may begin to take part in a transfer.
PageTable::Sequence& PageTable::find_transferable(State& state, const char* operation, SeqId id) const {
  require_idle(operation);
  Sequence& sequence = find_ready(state, id);
  if (limits_.support_sliding_window) {
    throw request_error("kv.unsupported",
                        fmt::format("{}: not in a cache with support_sliding_window: entries move there", operation));
  }
  require_committed(id, sequence);
  if (sequence.mark) {
    throw request_error("kv.state", fmt::format("{}: entries of sequence {} up to {} are to be sent already", operation,
                                                id, sequence.mark->end()));
  }
  return sequence;
}

SlotRuns PageTable::disagg_prepare_recv(SeqId id, Index count) {
  State next = state_;
  Sequence& sequence = find_transferable(next, "disagg_prepare_recv", id);
  require_within("disagg_prepare_recv: entries", count, 1);
  const Index begin = sequence.length;
  append(next, sequence, count);
  const std::vector<Index> slots = slots_of(next, sequence);
  const auto announced = std::span(slots).subspan(static_cast<std::size_t>(begin));
  sequence.announced.insert(announced.begin(), announced.end());
  sequence.missing = sequence.announced;
  state_ = std::move(next);
  return SlotRuns(announced);
}

void PageTable::disagg_mark_send(SeqId id, Index begin, const SlotRuns& slots, Index receiver_offset) {
  Sequence& sequence = find_transferable(state_, "disagg_mark_send", id);
  require_within("disagg_mark_send: begin", begin, 0);
  require_within("disagg_mark_send: receiver_offset", receiver_offset, 0);
  const Index cached = std::max<Index>(0, sequence.length - begin);
  if (slots.size() <= cached) {
    throw request_error(
        "kv.bad_argument",
        fmt::format("disagg_mark_send: {} slots from entry {} of sequence {} on, of which {} are cached: "
                    "there must be slots for more, because they go with the next forward",
                    slots.size(), begin, id, cached));
  }
  sequence.mark = Mark{begin, slots, receiver_offset, 0};
}

bool PageTable::receive(std::span<const Index> slots) {
  const auto waits_for_all = [&](const auto& entry) {
    const auto announced = [&](Index slot) { return entry.second.announced.contains(slot); };
    return !slots.empty() && std::ranges::all_of(slots, announced);
  };
  const auto found = std::ranges::find_if(state_.sequences, waits_for_all);
  if (found == state_.sequences.end()) return false;
  Sequence& sequence = found->second;
  for (const Index slot : slots) sequence.missing.erase(slot);
  if (sequence.missing.empty()) sequence.announced.clear();
  return true;
}

bool PageTable::waits(SeqId id) const {
  const auto found = state_.sequences.find(id);
  return found != state_.sequences.end() && !found->second.announced.empty();
}

// While a sequence is sent, entries that are to be added must have a slot, and be final.
void PageTable::require_listed(SeqId id, const Sequence& sequence, Index count, bool as_tree) {
  if (!sequence.mark) return;
  if (as_tree)
    throw request_error("kv.unsupported", fmt::format("a token tree of sequence {}: not while it is sent", id));
  if (sequence.length + count > sequence.mark->end()) {
    throw request_error(
        "kv.bad_argument",
        fmt::format("begin_forward: sequence {} would have {} entries, and the slots that it is sent to "
                    "end at {}",
                    id, sequence.length + count, sequence.mark->end()));
  }
}

void PageTable::plan_send(const Sequence& sequence, std::span<const Index> slots, ForwardPlan& plan) {
  if (!sequence.mark) return;
  const Mark& mark = *sequence.mark;
  PlannedSend send{mark.receiver_offset, {}};
  for (Index place = mark.sent; mark.begin + place < sequence.length; ++place)
    send.entries.push_back({slots[static_cast<std::size_t>(mark.begin + place)], mark.slots.at(place)});
  if (!send.entries.empty()) plan.sends.push_back(std::move(send));
}

void PageTable::advance_mark(Sequence& sequence) {
  if (!sequence.mark) return;
  Mark& mark = *sequence.mark;
  mark.sent = std::max<Index>(0, sequence.length - mark.begin);
  if (mark.sent == mark.slots.size()) sequence.mark.reset();
}

}  // namespace mlbench::ref
