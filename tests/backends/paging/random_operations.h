// Two implementations of the cache's bookkeeping under the same random operations: the backends' and the reference's.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "backends/paging/page_table.h"
#include "reference/page_table.h"
#include "tests/support/expect_error.h"

namespace mlbench::paging {

using Parents = std::optional<std::vector<Index>>;

inline std::vector<Index> slots_of(const Layout& layout, Index count) {
  std::vector<Index> slots;
  for (Index entry = 0; entry < count; ++entry) slots.push_back(layout.slot(entry));
  return slots;
}

inline std::vector<Index> slots_of(const PageTable& table, SeqId id) {
  return slots_of(table.layout(id), table.sequence_length(id));
}
inline std::vector<Index> slots_of(const ref::PageTable& table, SeqId id) { return table.slots(id); }
inline std::vector<Index> slots_of(const PlannedSequence& sequence) {
  return slots_of(sequence.layout, sequence.total);
}
inline std::vector<Index> slots_of(const ref::PlannedSequence& sequence) { return sequence.slots; }

// Pairs of slots, here and there.
using Sent = std::vector<std::pair<Index, Index>>;
inline Sent entries_of(const PlannedSend& send) {
  Sent entries;
  for (const Index from : send.from) entries.emplace_back(from, send.to.at(static_cast<Index>(entries.size())));
  return entries;
}
inline Sent entries_of(const ref::PlannedSend& send) {
  Sent entries;
  for (const auto& [from, to] : send.entries) entries.emplace_back(from, to);
  return entries;
}
inline bool receive(PageTable& table, const SlotRuns& slots) { return table.receive(slots); }
inline bool receive(ref::PageTable& table, const SlotRuns& slots) { return table.receive(slots.slots()); }

// One implementation, and values in its slots: every token has one of its own. Operations return what a caller gets to
// know, as text: the error's code, or what was copied or planned.
template <class Table>
class Subject {
 public:
  Subject(const KvLimits& limits, bool trees_allowed)
      : page_size_(limits.page_size),
        table_(limits, trees_allowed),
        values_(static_cast<std::size_t>(table_.num_pages() * page_size_), -1) {}

  [[nodiscard]] const Table& table() const { return table_; }

  std::string add(SeqId id) {
    return test::code_of([&] { table_.add_sequence(id); });
  }
  std::string remove(SeqId id) {
    return test::code_of([&] { table_.remove_sequence(id); });
  }
  std::string fork(SeqId parent, SeqId child, Index pos) {
    return copying([&] { return table_.fork_sequence(parent, child, pos); });
  }
  std::string popn(SeqId id, Index count) {
    return copying([&] { return table_.popn(id, count); });
  }
  std::string enable(SeqId id, Index window, Index sink) {
    return test::code_of([&] { table_.enable_sliding_window(id, window, sink); });
  }
  std::string begin(const std::vector<SeqId>& ids, const std::vector<Index>& lengths, const Parents& parents) {
    std::string planned;
    const std::string code = test::code_of([&] {
      const auto plan = table_.begin_forward(ids, lengths, parents);
      for (const auto& row : plan.rows) {
        const auto& sequence = plan.sequences.at(static_cast<std::size_t>(row.sequence));
        value(slots_of(sequence).at(static_cast<std::size_t>(row.entry))) = next_value_++;
        planned += fmt::format(" {}/{} at {} sees {} and {};", sequence.id, row.entry, row.position, row.prefix,
                               fmt::join(row.path, ","));
      }
      for (const auto& sequence : plan.sequences) {
        planned += fmt::format(" {}: {}", sequence.id, fmt::join(values_at(slots_of(sequence)), " "));
      }
      for (const auto& send : plan.sends) {
        planned += fmt::format(" sends to {}:", send.receiver_offset);
        for (const auto& [from, to] : entries_of(send)) planned += fmt::format(" {} to {}", value(from), to);
      }
    });
    return code + planned;
  }
  std::string end() {
    return test::code_of([&] { table_.end_forward(); });
  }
  std::string commit(const std::vector<SeqId>& ids, const std::vector<Index>& leaves) {
    return test::code_of([&] {
      for (const auto& copy : table_.commit_trees(ids, leaves)) value(copy.to) = value(copy.from);
    });
  }
  std::string prepare(SeqId id, Index count) {
    return test::code_of([&] {
      announced_[id] = table_.disagg_prepare_recv(id, count);
      for (const Index slot : announced_[id].slots()) value(slot) = -1;
    });
  }
  std::string mark(SeqId id, Index begin, const std::vector<Index>& slots, Index receiver_offset) {
    return test::code_of([&] { table_.disagg_mark_send(id, begin, SlotRuns(slots), receiver_offset); });
  }
  // Entries [first, first + count) of those that were announced last come.
  std::string receive_some(SeqId id, Index first, Index count) {
    const SlotRuns slots = announced_[id].part(first, count);
    if (!receive(table_, slots)) return "nobody";
    for (const Index slot : slots.slots()) value(slot) = next_value_++;
    return "";
  }
  [[nodiscard]] Index announced(SeqId id) const {
    const auto it = announced_.find(id);
    return it == announced_.end() ? 0 : it->second.size();
  }
  std::string clear() {
    return test::code_of([&] { table_.clear(); });
  }

  // The answers to all questions, and the values of all sequences.
  [[nodiscard]] std::string state(SeqId num_ids) const {
    std::string text = fmt::format("{} free, {} in all, empty {}, in a forward {}", table_.num_available_pages(),
                                   table_.total_sequence_length(), table_.empty(), table_.in_forward());
    for (SeqId id = 0; id < num_ids; ++id) {
      const std::string code = test::code_of([&] {
        text += fmt::format("; {}: {} entries{}: {}", id, table_.sequence_length(id), table_.waits(id) ? ", waits" : "",
                            fmt::join(values_at(slots_of(table_, id)), " "));
      });
      if (!code.empty()) text += fmt::format("; {}: {}", id, code);
    }
    return text;
  }

 private:
  Index& value(Index slot) { return values_.at(static_cast<std::size_t>(slot)); }
  [[nodiscard]] std::vector<Index> values_at(const std::vector<Index>& slots) const {
    std::vector<Index> values;
    for (const Index slot : slots) values.push_back(values_.at(static_cast<std::size_t>(slot)));
    return values;
  }
  template <class Operation>
  std::string copying(const Operation& operation) {
    std::string copied;
    const std::string code = test::code_of([&] {
      const auto copy = operation();
      if (!copy) return;
      for (Index i = 0; i < copy->count; ++i) value(copy->to * page_size_ + i) = value(copy->from * page_size_ + i);
      copied = fmt::format(" copied {}", copy->count);
    });
    return code + copied;
  }

  Index page_size_;
  Table table_;
  std::vector<Index> values_;  // by slot
  Index next_value_ = 0;
  std::map<SeqId, SlotRuns> announced_;
};

enum class Cache { trees, in_line, windows };

struct PairSetting {
  Cache cache;
  Index page_size;
  Index pages;  // before those that windows add
};

inline void PrintTo(const PairSetting& setting, std::ostream* out) {
  static constexpr const char* kNames[] = {"Trees", "InLine", "Windows"};
  *out << fmt::format("{}{}PagesOf{}", kNames[static_cast<std::size_t>(setting.cache)], setting.pages,
                      setting.page_size);
}

// Operations are drawn so that most are possible ones; all that can go wrong is drawn, too.
class Pair {
 public:
  explicit Pair(const PairSetting& setting)
      : setting_(setting),
        ours_(limits(setting), setting.cache == Cache::trees),
        reference_(limits(setting), setting.cache == Cache::trees),
        random_(static_cast<std::uint32_t>(1000 * setting.page_size + 10 * setting.pages) +
                static_cast<std::uint32_t>(setting.cache)) {}

  // Fails the test when the two differ afterwards.
  void step() {
    if (one_in(3) && receive()) return;
    if (reference_.table().in_forward() && !one_in(6)) return end();
    if (tree_pending_ && !one_in(3)) return commit();
    const Index which = draw(0, 45);
    if (which < 3) return add();
    if (which < 5) return remove();
    if (which < 15) return fork();
    if (which < 22) return popn();
    if (which < 24) return enable();
    if (which < 25) return commit();
    if (which < 26 && one_in(8)) return clear();
    if (which < 28) return prepare();
    if (which < 31) return mark();
    begin();
  }

  // How often an operation came to an end: "popn kv.full", "popn " for success; "popn copied" and the like besides.
  [[nodiscard]] Index times(const std::string& outcome) const {
    const auto it = outcomes_.find(outcome);
    return it == outcomes_.end() ? 0 : it->second;
  }

 private:
  static constexpr SeqId kIds = 7;  // that operations name

  struct Window {
    Index lowest = 0;  // length since it was enabled
    bool slid = false;
  };

  static KvLimits limits(const PairSetting& setting) {
    return {.max_batch_size = kIds - 2,
            .max_total_seq_len = (setting.pages - 1) * setting.page_size,
            .prefill_chunk_size = setting.page_size + 6,
            .page_size = setting.page_size,
            .support_sliding_window = setting.cache == Cache::windows};
  }

  Index draw(Index low, Index high) {
    return low + static_cast<Index>(random_() % static_cast<std::uint32_t>(high - low + 1));
  }
  bool one_in(Index count) { return draw(1, count) == 1; }
  SeqId draw_id(bool live) {
    if (one_in(60)) return -1;
    SeqId id = draw(0, kIds - 1);
    for (int tries = one_in(15) ? 0 : 6; tries > 0 && is_live(id) != live; --tries) id = draw(0, kIds - 1);
    return id;
  }
  [[nodiscard]] bool is_live(SeqId id) const {
    return test::code_of([&] { (void)reference_.table().sequence_length(id); }).empty();
  }
  [[nodiscard]] Index length_of(SeqId id) const { return is_live(id) ? reference_.table().sequence_length(id) : 0; }

  void compare(const std::string& operation, const std::string& ours, const std::string& reference) {
    const std::string name = operation.substr(0, operation.find(' '));
    ++outcomes_[fmt::format("{} {}", name, reference.substr(0, reference.find(' ')))];
    if (reference.starts_with(" copied")) ++outcomes_[fmt::format("{} copied", name)];
    EXPECT_EQ(ours, reference) << operation;
    EXPECT_EQ(ours_.state(kIds), reference_.state(kIds)) << "after " << operation;
  }

  void add() {
    const SeqId id = draw_id(one_in(8));
    compare(fmt::format("add {}", id), ours_.add(id), reference_.add(id));
  }

  void remove() {
    const SeqId id = draw_id(true);
    const std::string removed = reference_.remove(id);
    if (removed.empty()) windows_.erase(id);
    compare(fmt::format("remove {}", id), ours_.remove(id), removed);
  }

  void fork() {
    const SeqId parent = draw_id(true);
    const SeqId child = draw_id(false);
    const Index length = length_of(parent);
    Index pos = draw(-2, length + 1);
    if (one_in(3)) pos -= pos % setting_.page_size;
    compare(fmt::format("fork {} to {} at {}", parent, child, pos), ours_.fork(parent, child, pos),
            reference_.fork(parent, child, pos));
  }

  void popn() {
    const SeqId id = draw_id(true);
    const Index length = length_of(id);
    const Index count = one_in(3) ? draw(-1, length + 1) : draw(0, std::min(length, 1 + setting_.page_size / 2));
    const std::string popped = reference_.popn(id, count);
    const auto window = windows_.find(id);
    if (window != windows_.end()) window->second.lowest = std::min(window->second.lowest, length_of(id));
    compare(fmt::format("popn {} from {}", count, id), ours_.popn(id, count), popped);
  }

  void enable() {
    const SeqId id = draw_id(true);
    const Index window = draw(one_in(15) ? 0 : 1, 3 * setting_.page_size + 1);
    const Index sink = one_in(8) ? draw(-1, window) : draw(0, std::max<Index>(0, window - 1));
    const std::string enabled = reference_.enable(id, window, sink);
    if (enabled.empty()) windows_[id] = {.lowest = length_of(id)};
    compare(fmt::format("enable {} {} {}", id, window, sink), ours_.enable(id, window, sink), enabled);
  }

  void begin() {
    std::vector<SeqId> ids;
    std::vector<Index> lengths;
    for (Index s = one_in(50) ? 0 : draw(1, 3); s > 0; --s) {
      const SeqId id = draw_id(true);
      if (!one_in(20) && std::find(ids.begin(), ids.end(), id) != ids.end()) continue;
      ids.push_back(id);
      lengths.push_back(draw(one_in(50) ? 0 : 1, one_in(2) ? 2 : setting_.page_size + 2));
    }
    if (one_in(50)) lengths.push_back(1);
    Parents parents;
    if (one_in(setting_.cache == Cache::trees ? 3 : 30)) parents = draw_parents(lengths);
    const std::string begun = reference_.begin(ids, lengths, parents);
    if (begun.starts_with(" ")) {
      last_ids_ = ids;
      tree_pending_ = parents.has_value();
      if (parents) ++outcomes_["begin tree"];
      if (begun.find("sends") != std::string::npos) ++outcomes_["begin sends"];
    }
    compare(fmt::format("begin {} with {} below {}", fmt::join(ids, ","), fmt::join(lengths, ","),
                        parents ? fmt::format("{}", fmt::join(*parents, ",")) : "none"),
            ours_.begin(ids, lengths, parents), begun);
  }
  std::vector<Index> draw_parents(const std::vector<Index>& lengths) {
    const bool wild = one_in(10);
    std::vector<Index> parents;
    for (const Index length : lengths) {
      for (Index node = 0; node < length; ++node) parents.push_back(wild ? draw(-2, node + 2) : draw(-1, node - 1));
    }
    if (one_in(50)) parents.push_back(-1);
    return parents;
  }

  void end() {
    std::map<SeqId, Index> lengths;
    for (const auto& [id, window] : windows_) lengths[id] = length_of(id);
    const std::string ended = reference_.end();
    for (auto& [id, window] : windows_) {
      if (length_of(id) == lengths[id]) continue;
      window.slid = true;
      ++outcomes_["slid"];
    }
    compare("end", ours_.end(), ended);
  }

  void commit() {
    std::vector<SeqId> ids = last_ids_;
    if (one_in(20)) std::reverse(ids.begin(), ids.end());
    std::vector<Index> leaves;
    for (std::size_t s = 0; s < ids.size(); ++s) leaves.push_back(draw(one_in(10) ? -2 : -1, one_in(2) ? 0 : 3));
    if (one_in(50)) leaves.push_back(0);
    const std::string committed = reference_.commit(ids, leaves);
    tree_pending_ = tree_pending_ && !committed.empty() && !one_in(4);
    compare(fmt::format("commit {} to {}", fmt::join(ids, ","), fmt::join(leaves, ",")), ours_.commit(ids, leaves),
            committed);
  }

  void prepare() {
    const SeqId id = draw_id(true);
    const Index count = one_in(10) ? draw(-1, 0) : draw(1, one_in(3) ? 2 : 2 * setting_.page_size);
    compare(fmt::format("prepare {} for {}", id, count), ours_.prepare(id, count), reference_.prepare(id, count));
  }

  void mark() {
    const SeqId id = draw_id(true);
    const Index begin = draw(one_in(15) ? -1 : 0, length_of(id) + 2);
    const Index count = std::max<Index>(0, length_of(id) - begin) + draw(0, setting_.page_size + 2);
    std::vector<Index> slots;
    for (Index i = 0; i < count; ++i) slots.push_back(i < count / 2 ? 700 + i : i);  // two runs, not ascending
    const Index offset = one_in(15) ? -1 : draw(0, 3);
    compare(fmt::format("mark {} from {} on for {}", id, begin, count), ours_.mark(id, begin, slots, offset),
            reference_.mark(id, begin, slots, offset));
  }

  // False where nothing could come. Entries of a sequence that waits no more are offered only where no other waits:
  // their slots may be others' by now, which the two implementations number differently.
  bool receive() {
    SeqId id = draw(0, kIds - 1);
    bool any = false;
    for (SeqId other = 0; other < kIds; ++other) {
      if (!reference_.table().waits(other)) continue;
      any = true;
      id = other;
      if (one_in(2)) break;
    }
    const Index announced = reference_.announced(id);
    if (announced == 0 || (!any && !one_in(20))) return false;
    const Index first = one_in(2) ? 0 : draw(0, announced - 1);
    const Index count = one_in(2) ? announced - first : draw(0, announced - first);
    compare(fmt::format("receive {}: {} from {} on", id, count, first), ours_.receive_some(id, first, count),
            reference_.receive_some(id, first, count));
    return true;
  }

  void clear() {
    windows_.clear();
    tree_pending_ = false;
    compare("clear", ours_.clear(), reference_.clear());
  }

  PairSetting setting_;
  Subject<PageTable> ours_;
  Subject<ref::PageTable> reference_;
  std::mt19937 random_;
  std::vector<SeqId> last_ids_;
  bool tree_pending_ = false;
  std::map<SeqId, Window> windows_;
  std::map<std::string, Index> outcomes_;
};

}  // namespace mlbench::paging
