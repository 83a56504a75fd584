#include "models/kv_transfer.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench {
namespace {

constexpr Index kLargestSlot = std::numeric_limits<std::int32_t>::max();

Error bad_argument(const std::string& message) { return request_error("kv.bad_argument", message); }

}  // namespace

SlotRuns::SlotRuns(std::span<const Index> slots) {
  for (const Index slot : slots) add(slot, 1);
  sort();
}

SlotRuns SlotRuns::decoded(std::span<const Index> list) {
  // Compared this way round: what comes first may be any number.
  if (list.size() % 2 == 0 || list[0] != static_cast<Index>(list.size() / 2)) {
    throw bad_argument(fmt::format("slots: expected [k, start_1, count_1, ..., start_k, count_k], got {} numbers{}",
                                   list.size(), list.empty() ? "" : fmt::format(" of which the first is {}", list[0])));
  }
  SlotRuns out;
  for (std::size_t i = 1; i < list.size(); i += 2) out.add(list[i], list[i + 1]);
  out.sort();
  return out;
}

std::vector<Index> SlotRuns::encoded() const {
  std::vector<Index> list{static_cast<Index>(runs_.size())};
  for (const Run& run : runs_) list.insert(list.end(), {run.start, run.count});
  return list;
}

void SlotRuns::add(Index start, Index count) {
  if (start < 0 || count < 1 || start > kLargestSlot || count - 1 > kLargestSlot - start) {
    throw bad_argument(
        fmt::format("slots: {} from {} on: they must lie within 0..{}, at least one", count, start, kLargestSlot));
  }
  if (!runs_.empty() && runs_.back().start + runs_.back().count == start) {
    runs_.back().count += count;
  } else {
    runs_.push_back({start, count, size()});
  }
}

void SlotRuns::sort() {
  by_start_ = runs_;
  std::ranges::sort(by_start_, {}, &Run::start);
  for (std::size_t i = 1; i < by_start_.size(); ++i) {
    const Run& before = by_start_[i - 1];
    if (by_start_[i].start < before.start + before.count)
      throw bad_argument(fmt::format("slots: {} is named twice", by_start_[i].start));
  }
}

Index SlotRuns::at(Index place) const {
  const auto behind = std::ranges::upper_bound(runs_, place, {}, &Run::before);
  const Run& run = *(behind - 1);
  return run.start + place - run.before;
}

std::optional<Index> SlotRuns::place_of(Index slot) const {
  const auto behind = std::ranges::upper_bound(by_start_, slot, {}, &Run::start);
  if (behind == by_start_.begin()) return std::nullopt;
  const Run& run = *(behind - 1);
  if (slot - run.start >= run.count) return std::nullopt;
  return run.before + slot - run.start;
}

std::vector<Index> SlotRuns::slots(Index first, Index count) const {
  std::vector<Index> out;
  out.reserve(static_cast<std::size_t>(count));
  for (Index place = first; place < first + count; ++place) out.push_back(at(place));
  return out;
}

SlotRuns SlotRuns::part(Index first, Index count) const { return SlotRuns(slots(first, count)); }

Index SlotRuns::largest() const { return by_start_.empty() ? -1 : by_start_.back().start + by_start_.back().count - 1; }

Index transfer_end(Index begin, Index end, Index prompt_length) {
  const Index from_front = end < 0 ? prompt_length + end : end;
  if (begin >= 0 && begin < from_front && from_front < prompt_length) return from_front;
  throw bad_argument(fmt::format("positions [{}, {}) of a prompt of {} tokens: 0 <= begin < end < {} must hold", begin,
                                 end, prompt_length, prompt_length));
}

}  // namespace mlbench
