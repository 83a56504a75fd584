#include "cache.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "request_error.h"

namespace example {
namespace {

constexpr std::size_t kMaxTreeNodes = 256;

std::string text(std::int64_t number) { return std::to_string(number); }
std::size_t at(std::int64_t index) { return static_cast<std::size_t>(index); }
std::int64_t count_of(Cache::Numbers list) { return static_cast<std::int64_t>(list.size()); }

RequestError bad_argument(const std::string& message) { return {"kv.bad_argument", message}; }

// From the root to `node`, itself last.
std::vector<std::int64_t> path_to(std::int64_t node, const std::vector<std::int64_t>& parents) {
  std::vector<std::int64_t> path;
  for (; node >= 0; node = parents[at(node)]) path.push_back(node);
  std::reverse(path.begin(), path.end());
  return path;
}

void require_tree(const Sequence& sequence, Cache::Numbers parents) {
  std::int64_t nodes = sequence.tree ? static_cast<std::int64_t>(sequence.tree->parents.size()) : 0;
  if (at(nodes) + parents.size() > kMaxTreeNodes) throw bad_argument("a token tree has at most 256 nodes");
  for (const std::int64_t parent : parents) {
    if (parent < -1 || parent >= nodes)
      throw bad_argument("parent " + text(parent) + " of tree node " + text(nodes) + " must lie before it, or be -1");
    ++nodes;
  }
}

}  // namespace

Cache::Cache(const CacheShape& shape, const mlbench_kv_limits& limits) : shape_(shape), limits_(limits) {
  if (limits.support_sliding_window != 0) throw RequestError("kv.unsupported", "sliding windows: this example has none");
  if (limits.max_batch_size < 1 || limits.max_total_seq_len < 1 || limits.prefill_chunk_size < 1 ||
      limits.page_size < 1)
    throw bad_argument("the limits of a cache must be >= 1");
}

// ---- what must hold before anything changes ----

const Sequence& Cache::find(std::int64_t id) const {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) throw RequestError("kv.unknown_seq", "there is no sequence " + text(id));
  return found->second;
}

Sequence& Cache::find(std::int64_t id) { return const_cast<Sequence&>(std::as_const(*this).find(id)); }

void Cache::require_idle(const char* operation) const {
  if (in_forward_)
    throw RequestError("kv.state", std::string(operation) + ": not between begin_forward and end_forward");
}

void Cache::require_addable(std::int64_t id) const {
  if (id < 0) throw bad_argument("sequence id " + text(id) + " must be >= 0");
  if (sequences_.contains(id)) throw RequestError("kv.duplicate_seq", "sequence " + text(id) + " exists already");
  if (static_cast<std::int64_t>(sequences_.size()) >= limits_.max_batch_size)
    throw bad_argument("max_batch_size, " + text(limits_.max_batch_size) + ", sequences are live already");
}

void Cache::require_pages(std::int64_t more) const {
  if (more > num_available_pages())
    throw RequestError("kv.full", text(more) + " more pages are needed, " + text(num_available_pages()) + " are free");
}

std::int64_t Cache::pages_of(std::int64_t length) const { return (length + limits_.page_size - 1) / limits_.page_size; }

// ---- sequences ----

void Cache::resize(Sequence& sequence, std::int64_t length) const {
  sequence.length = length;
  for (auto* side : {&sequence.keys, &sequence.values}) {
    side->resize(at(shape_.layers));
    for (std::vector<float>& layer : *side) layer.resize(at(length * shape_.width));
  }
}

void Cache::add_sequence(std::int64_t id) {
  require_idle("add_sequence");
  require_addable(id);
  resize(sequences_[id], 0);
}

void Cache::remove_sequence(std::int64_t id) {
  require_idle("remove_sequence");
  (void)find(id);
  sequences_.erase(id);
}

void Cache::fork_sequence(std::int64_t parent, std::int64_t child, std::int64_t pos) {
  require_idle("fork_sequence");
  const Sequence& from = find(parent);
  if (pos < -1 || pos > from.length) throw bad_argument("fork at " + text(pos) + ": the parent is shorter");
  if (from.tree) throw RequestError("kv.uncommitted_tree", "sequence " + text(parent) + " has a tree to commit first");
  require_addable(child);
  const std::int64_t length = pos == -1 ? from.length : pos;
  require_pages(pages_of(length));
  Sequence copy = from;
  resize(copy, length);
  sequences_[child] = std::move(copy);
}

void Cache::popn(std::int64_t id, std::int64_t count) {
  require_idle("popn");
  Sequence& sequence = find(id);
  if (count < 0 || count > sequence.length) throw bad_argument("popn of " + text(count) + ": there are fewer entries");
  resize(sequence, sequence.length - count);
  if (!sequence.tree) return;
  const std::int64_t nodes = sequence.length - sequence.tree->base;  // the youngest go first
  if (nodes > 0) sequence.tree->parents.resize(at(nodes));
  if (nodes <= 0) sequence.tree.reset();
}

// ---- forwards ----

std::int64_t Cache::checked_rows(Numbers ids, Numbers lengths) const {
  if (ids.empty() || ids.size() != lengths.size()) throw bad_argument("as many sequences as lengths, at least one");
  if (std::set<std::int64_t>(ids.begin(), ids.end()).size() != ids.size())
    throw bad_argument("a sequence is named twice");
  std::int64_t rows = 0;
  for (const std::int64_t length : lengths) {
    if (length < 1) throw bad_argument("length " + text(length) + " must be >= 1");
    if (length > limits_.prefill_chunk_size - rows)
      throw RequestError("kv.chunk_too_large",
                         "more rows than prefill_chunk_size, " + text(limits_.prefill_chunk_size));
    rows += length;
  }
  return rows;
}

void Cache::begin_forward(Numbers ids, Numbers lengths, std::optional<Numbers> parents) {
  require_idle("begin_forward");
  const std::int64_t rows = checked_rows(ids, lengths);
  if (parents && count_of(*parents) != rows) throw bad_argument("a tree parent for each row");
  std::int64_t pages = 0;
  std::size_t row = 0;
  for (std::size_t s = 0; s < ids.size(); ++s) {
    const Sequence& sequence = find(ids[s]);
    if (parents) require_tree(sequence, parents->subspan(row, at(lengths[s])));
    if (!parents && sequence.tree)
      throw RequestError("kv.uncommitted_tree", "sequence " + text(ids[s]) + " has a tree to commit first");
    pages += pages_of(sequence.length + lengths[s]) - pages_of(sequence.length);
    row += at(lengths[s]);
  }
  require_pages(pages);

  rows_.clear();
  for (std::size_t s = 0; s < ids.size(); ++s) {
    Sequence& sequence = find(ids[s]);
    const std::int64_t before = sequence.length;
    if (parents) {
      if (!sequence.tree) sequence.tree = Sequence::Tree{before, {}, 0};
      const auto own = parents->subspan(rows_.size(), at(lengths[s]));
      sequence.tree->parents.insert(sequence.tree->parents.end(), own.begin(), own.end());
      ++sequence.tree->forwards;
    }
    resize(sequence, before + lengths[s]);
    for (std::int64_t entry = before; entry < sequence.length; ++entry) {
      Row planned{&sequence, entry, entry, entry + 1, {}};
      if (parents) {
        const std::int64_t base = sequence.tree->base;
        planned.path = path_to(entry - base, sequence.tree->parents);
        planned.position = base + static_cast<std::int64_t>(planned.path.size()) - 1;
        planned.prefix = base;
        for (std::int64_t& node : planned.path) node += base;
      }
      rows_.push_back(std::move(planned));
    }
  }
  last_ids_.assign(ids.begin(), ids.end());
  in_forward_ = true;
}

void Cache::end_forward() {
  if (!in_forward_) throw RequestError("kv.state", "end_forward: there was no begin_forward");
  in_forward_ = false;
}

const std::vector<Row>& Cache::rows() const {
  if (!in_forward_) throw RequestError("kv.state", "there is no forward between begin_forward and end_forward");
  return rows_;
}

void Cache::commit_tree(Numbers ids, Numbers leaves) {
  require_idle("commit_tree");
  if (ids.size() != leaves.size() || !std::equal(ids.begin(), ids.end(), last_ids_.begin(), last_ids_.end()))
    throw bad_argument("commit: the sequences of the last begin_forward in its order, and a leaf for each");
  for (std::size_t s = 0; s < ids.size(); ++s) {
    const Sequence& sequence = find(ids[s]);
    if (!sequence.tree) throw bad_argument("commit: sequence " + text(ids[s]) + " has no tree");
    if (sequence.tree->forwards > 1) throw RequestError("kv.unsupported", "commit: the tree took several forwards");
    if (leaves[s] < -1 || leaves[s] >= static_cast<std::int64_t>(sequence.tree->parents.size()))
      throw bad_argument("commit: leaf " + text(leaves[s]) + " is no node of the tree");
  }
  for (std::size_t s = 0; s < ids.size(); ++s) {
    Sequence& sequence = find(ids[s]);
    const Sequence::Tree tree = *std::exchange(sequence.tree, std::nullopt);
    std::int64_t length = tree.base;
    for (const std::int64_t node : path_to(leaves[s], tree.parents)) {  // ascending: nothing is overwritten unread
      for (auto* side : {&sequence.keys, &sequence.values}) {
        for (std::vector<float>& layer : *side)
          std::copy_n(&layer[at((tree.base + node) * shape_.width)], shape_.width, &layer[at(length * shape_.width)]);
      }
      ++length;
    }
    resize(sequence, length);
  }
}

void Cache::clear() {
  sequences_.clear();
  last_ids_.clear();
  in_forward_ = false;
}

// ---- questions ----

std::int64_t Cache::num_available_pages() const {
  std::int64_t pages = pages_of(limits_.max_total_seq_len) + 1;
  for (const auto& [id, sequence] : sequences_) pages -= pages_of(sequence.length);
  return pages;
}

std::int64_t Cache::total_sequence_length() const {
  std::int64_t total = 0;
  for (const auto& [id, sequence] : sequences_) total += sequence.length;
  return total;
}

std::int64_t Cache::sequence_length(std::int64_t id) const { return find(id).length; }

const Sequence& Cache::entries_of(std::int64_t id, std::int64_t begin, std::int64_t end) const {
  require_idle("debug_get_kv, debug_set_kv");
  const Sequence& sequence = find(id);
  if (begin < 0 || end <= begin || end > sequence.length)
    throw bad_argument("entries [" + text(begin) + ", " + text(end) + ") of " + text(sequence.length));
  return sequence;
}

void Cache::get_entries(std::int64_t id, std::int64_t begin, std::int64_t end, float* keys, float* values) const {
  const Sequence& sequence = entries_of(id, begin, end);
  const std::int64_t count = (end - begin) * shape_.width;
  for (std::int64_t l = 0; l < shape_.layers; ++l) {
    std::copy_n(&sequence.keys[at(l)][at(begin * shape_.width)], count, keys + l * count);
    std::copy_n(&sequence.values[at(l)][at(begin * shape_.width)], count, values + l * count);
  }
}

void Cache::set_entries(std::int64_t id, std::int64_t begin, std::int64_t end, const float* keys, const float* values) {
  auto& sequence = const_cast<Sequence&>(entries_of(id, begin, end));
  const std::int64_t count = (end - begin) * shape_.width;
  for (std::int64_t l = 0; l < shape_.layers; ++l) {
    std::copy_n(keys + l * count, count, &sequence.keys[at(l)][at(begin * shape_.width)]);
    std::copy_n(values + l * count, count, &sequence.values[at(l)][at(begin * shape_.width)]);
  }
}

}  // namespace example
