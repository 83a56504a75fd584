// Entries that come from another cache, and entries that go to one.
#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "backends/paging/page_table.h"
#include "core/error.h"

namespace mlbench::paging {
namespace {

constexpr Index kLargest = std::numeric_limits<std::int32_t>::max();

Error bad_argument(const std::string& message) { return request_error("kv.bad_argument", message); }
Error wrong_time(const std::string& message) { return request_error("kv.state", message); }

}  // namespace

const PageTable::Sequence& PageTable::ready(SeqId id) const {
  const Sequence& sequence = find(id);
  if (!sequence.receipt) return sequence;
  throw wrong_time(fmt::format("sequence {}: {} of the {} entries that disagg_prepare_recv announced have not come", id,
                               sequence.receipt->missing, sequence.receipt->slots.size()));
}

PageTable::Sequence& PageTable::ready(SeqId id) {
  return const_cast<Sequence&>(std::as_const(*this).ready(id));  // what *this owns is not const here
}

// A sequence of which entries may come or go from now on.
PageTable::Sequence& PageTable::transferable(const char* operation, SeqId id) {
  require_idle(operation);
  Sequence& sequence = ready(id);
  if (limits_.support_sliding_window) {
    throw request_error("kv.unsupported", fmt::format("{}: not in a cache made with support_sliding_window, whose "
                                                      "entries change their place",
                                                      operation));
  }
  require_committed(id, sequence);
  if (!sequence.mark) return sequence;
  throw wrong_time(
      fmt::format("{}: sequence {} is being sent already, up to entry {}", operation, id, sequence.mark->end()));
}

SlotRuns PageTable::disagg_prepare_recv(SeqId id, Index count) {
  Sequence& sequence = transferable("disagg_prepare_recv", id);
  if (count < 1 || count > kLargest)
    throw bad_argument(fmt::format("disagg_prepare_recv: {} entries: must lie within 1..{}", count, kLargest));
  require_pages(pages_to_append(sequence, count));

  const Index begin = sequence.length;
  append(sequence, count);
  const Layout layout = layout_of(sequence);
  std::vector<Index> slots;
  for (Index entry = begin; entry < sequence.length; ++entry) slots.push_back(layout.slot(entry));
  sequence.receipt = Receipt{
      .slots = SlotRuns(slots), .came = std::vector<bool>(static_cast<std::size_t>(count), false), .missing = count};
  return sequence.receipt->slots;
}

void PageTable::disagg_mark_send(SeqId id, Index begin, const SlotRuns& slots, Index receiver_offset) {
  Sequence& sequence = transferable("disagg_mark_send", id);
  for (const auto& [what, value] : {std::pair("begin", begin), std::pair("receiver_offset", receiver_offset)}) {
    if (value < 0 || value > kLargest)
      throw bad_argument(fmt::format("disagg_mark_send: {} = {}: must lie within 0..{}", what, value, kLargest));
  }
  if (slots.empty() || slots.size() <= sequence.length - begin) {
    throw bad_argument(
        fmt::format("disagg_mark_send: {} slots for the entries of sequence {} from {} on, which has {} "
                    "already: at least one more must be still to come",
                    slots.size(), id, begin, sequence.length));
  }
  sequence.mark = Mark{.begin = begin, .slots = slots, .receiver_offset = receiver_offset, .next = begin};
}

bool PageTable::receive(const SlotRuns& slots) {
  const std::vector<Index> all = slots.slots();
  for (auto& [id, sequence] : sequences_) {
    if (all.empty() || !sequence.receipt) continue;
    Receipt& receipt = *sequence.receipt;
    const auto listed = [&](Index slot) { return receipt.slots.place_of(slot).has_value(); };
    if (!std::ranges::all_of(all, listed)) continue;
    for (const Index slot : all) {
      auto&& came = receipt.came[static_cast<std::size_t>(*receipt.slots.place_of(slot))];
      if (!came) --receipt.missing;  // entries that the sender took back and computed anew come again
      came = true;
    }
    if (receipt.missing == 0) sequence.receipt.reset();
    return true;
  }
  return false;
}

bool PageTable::waits(SeqId id) const {
  const auto it = sequences_.find(id);
  return it != sequences_.end() && it->second.receipt.has_value();
}

// `count` more entries of a sequence that is being sent have to be in its list, and to stay where they are.
void PageTable::require_listed(SeqId id, const Sequence& sequence, Index count, bool as_tree) {
  if (!sequence.mark) return;
  if (as_tree) {
    throw request_error("kv.unsupported",
                        fmt::format("token trees: not in sequence {}, which is being sent to another cache", id));
  }
  if (sequence.length + count <= sequence.mark->end()) return;
  throw bad_argument(fmt::format("begin_forward: {} entries of sequence {}: disagg_mark_send gave slots up to entry {}",
                                 sequence.length + count, id, sequence.mark->end()));
}

// What the plan's forward adds to the sequence, and what was there before it was marked.
void PageTable::plan_send(const Sequence& sequence, ForwardPlan& plan) const {
  if (!sequence.mark || sequence.length <= sequence.mark->next) return;
  const Mark& mark = *sequence.mark;
  const Layout layout = layout_of(sequence);
  PlannedSend& send = plan.sends.emplace_back();
  send.receiver_offset = mark.receiver_offset;
  send.to = mark.slots.part(mark.next - mark.begin, sequence.length - mark.next);
  for (Index entry = mark.next; entry < sequence.length; ++entry) send.from.push_back(layout.slot(entry));
}

void PageTable::advance_mark(Sequence& sequence) {
  if (!sequence.mark) return;
  sequence.mark->next = std::max(sequence.mark->next, sequence.length);
  if (sequence.mark->next == sequence.mark->end()) sequence.mark.reset();
}

}  // namespace mlbench::paging
