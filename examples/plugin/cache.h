// The key-value cache: every sequence has its entries to itself, one behind the other. Pages are only counted;
// sequences that were forked share none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include <mlbench/plugin.h>

namespace example {

struct CacheShape {
  std::int64_t layers = 0;
  std::int64_t width = 0;  // Hkv * d: values of a key in a layer
};

struct Sequence {
  std::int64_t length = 0;
  std::vector<std::vector<float>> keys, values;  // of each layer, [length, Hkv * d]
  struct Tree {
    std::int64_t base = 0;              // committed entries
    std::vector<std::int64_t> parents;  // by node; -1: follows the last committed entry
    int forwards = 0;                   // that it took to announce
  };
  std::optional<Tree> tree;
};

// A row of the announced forward sees entries [0, prefix) of its sequence, then those of `path`, itself last.
struct Row {
  Sequence* sequence = nullptr;
  std::int64_t entry = 0;  // its own
  std::int64_t position = 0;
  std::int64_t prefix = 0;
  std::vector<std::int64_t> path;  // empty but for trees
};

class Cache {
 public:
  using Numbers = std::span<const std::int64_t>;

  Cache(const CacheShape& shape, const mlbench_kv_limits& limits);

  void add_sequence(std::int64_t id);
  void remove_sequence(std::int64_t id);
  void fork_sequence(std::int64_t parent, std::int64_t child, std::int64_t pos);
  void popn(std::int64_t id, std::int64_t count);
  void begin_forward(Numbers ids, Numbers lengths, std::optional<Numbers> parents);
  void end_forward();
  void commit_tree(Numbers ids, Numbers leaves);
  void clear();

  [[nodiscard]] bool empty() const { return sequences_.empty(); }
  [[nodiscard]] std::int64_t num_available_pages() const;
  [[nodiscard]] std::int64_t total_sequence_length() const;
  [[nodiscard]] std::int64_t sequence_length(std::int64_t id) const;

  // [L, end - begin, Hkv * d], to or from.
  void get_entries(std::int64_t id, std::int64_t begin, std::int64_t end, float* keys, float* values) const;
  void set_entries(std::int64_t id, std::int64_t begin, std::int64_t end, const float* keys, const float* values);

  [[nodiscard]] const std::vector<Row>& rows() const;  // between begin_forward and end_forward
  [[nodiscard]] const CacheShape& shape() const { return shape_; }

 private:
  [[nodiscard]] const Sequence& find(std::int64_t id) const;
  [[nodiscard]] Sequence& find(std::int64_t id);
  void require_idle(const char* operation) const;
  void require_addable(std::int64_t id) const;
  void require_pages(std::int64_t more) const;
  [[nodiscard]] std::int64_t pages_of(std::int64_t length) const;
  [[nodiscard]] const Sequence& entries_of(std::int64_t id, std::int64_t begin, std::int64_t end) const;
  void resize(Sequence& sequence, std::int64_t length) const;
  [[nodiscard]] std::int64_t checked_rows(Numbers ids, Numbers lengths) const;

  CacheShape shape_;
  mlbench_kv_limits limits_;
  std::map<std::int64_t, Sequence> sequences_;
  std::vector<std::int64_t> last_ids_;  // of the last begin_forward
  std::vector<Row> rows_;
  bool in_forward_ = false;
};

}  // namespace example
