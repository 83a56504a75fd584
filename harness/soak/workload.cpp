#include "harness/soak/workload.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "core/hash.h"
#include "harness/tokens.h"

namespace mlbench::soak {
namespace {

using backends::Method;
using harness::CacheOperation;
using harness::Call;
using Kind = CacheOperation::Kind;

constexpr Index kMostLive = 4;  // sequences at a time
constexpr Index kLongestPrompt = 48;
constexpr Index kLongest = 112;  // a sequence, with what is decoded
constexpr Index kTreeNodes = 5;
constexpr Index kPage = 16;

// Numbers drawn one after the other from a seed.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : seed_(seed) {}
  // In [low, high].
  Index between(Index low, Index high) {
    const auto range = static_cast<std::uint64_t>(high - low + 1);
    return low + static_cast<Index>(scattered(seed_, count_++) % range);
  }
  bool one_in(Index n) { return between(1, n) == 1; }

 private:
  std::uint64_t seed_;
  std::uint64_t count_ = 0;
};

class Server {
 public:
  Server(const ModelConfig& config, std::uint64_t seed, Index number)
      : draws_(scattered(seed, static_cast<std::uint64_t>(number))),
        tokens_(config.vocab_size, scattered(seed + 1, static_cast<std::uint64_t>(number))),
        longest_(std::min(kLongest, harness::longest_sequence(config))) {
    story_.name = fmt::format("workload-{}", number);
  }

  harness::Story run(Index calls) {
    while (static_cast<Index>(story_.calls.size()) < calls) step();
    if (!before_.empty()) live_.empty() ? admit() : decode();  // a tree is committed
    story_.limits.page_size = kPage;
    story_.limits.max_batch_size = kMostLive;
    story_.limits.max_total_seq_len = kMostLive * (longest_ + 2 * kPage);  // a fork may copy a page
    return std::move(story_);
  }

 private:
  struct Live {
    SeqId id = 0;
    Index length = 0;
  };

  void step() {
    end_those_that_are_full();
    const auto live = static_cast<Index>(live_.size());
    if (live == 0 || (live < kMostLive && draws_.one_in(4))) return admit();
    if (live < kMostLive && draws_.one_in(8)) return fork();
    if (draws_.one_in(10)) return tree();
    if (draws_.one_in(12)) return end(static_cast<std::size_t>(draws_.between(0, live - 1)));
    if (draws_.one_in(10)) return take_back();
    decode();
  }

  Live& any() { return live_[static_cast<std::size_t>(draws_.between(0, static_cast<Index>(live_.size()) - 1))]; }
  [[nodiscard]] Index room(const Live& one) const { return longest_ - one.length; }

  // New sequences, one or two in one call, or one whose prompt comes in two pieces.
  void admit() {
    const Index free = kMostLive - static_cast<Index>(live_.size());
    const Index count = free > 1 && draws_.one_in(2) ? 2 : 1;
    std::vector<SeqId> ids;
    std::vector<Index> lengths;
    for (Index i = 0; i < count; ++i) {
      const Live born{next_id_++, draws_.between(1, std::min(kLongestPrompt, longest_ / 2))};
      before_.push_back({Kind::add, born.id, 0, 0, 0});
      ids.push_back(born.id);
      lengths.push_back(born.length);
      live_.push_back(born);
    }
    if (count > 1) return call(Method::batch_prefill, ids, lengths);
    if (lengths[0] > kPage && draws_.one_in(2)) {
      const Index piece = draws_.between(1, lengths[0] - 1);
      call(Method::prefill, ids, {piece});
      return call(Method::prefill, ids, {lengths[0] - piece});
    }
    call(Method::prefill, ids, lengths);
  }

  // Everyone's next token.
  void decode() {
    std::vector<SeqId> ids;
    for (Live& one : live_) {
      ids.push_back(one.id);
      ++one.length;
    }
    if (draws_.one_in(2)) std::ranges::reverse(ids);
    call(draws_.one_in(6) ? Method::batch_decode_to_last_hidden_states : Method::batch_decode, ids,
         std::vector<Index>(ids.size(), 1));
  }

  void fork() {
    const Live parent = any();
    const Live child{next_id_++, draws_.between(1, parent.length)};
    before_.push_back({Kind::fork, parent.id, child.id, child.length, 0});
    live_.push_back(child);
    end_those_that_are_full();
    if (!live_.empty()) decode();
  }

  // Guesses at what follows, of which a path is kept, or nothing.
  void tree() {
    Live& one = any();
    if (room(one) < kTreeNodes) return decode();
    std::vector<Index> parents = {-1};
    std::vector<Index> depth = {1};
    for (Index node = 1; node < kTreeNodes; ++node) {
      parents.push_back(draws_.between(-1, node - 1));
      depth.push_back(parents.back() < 0 ? 1 : depth[static_cast<std::size_t>(parents.back())] + 1);
    }
    const Index leaf = draws_.between(-1, kTreeNodes - 1);
    call(Method::batch_verify, {one.id}, {kTreeNodes});
    story_.calls.back().tree_parents = parents;
    before_.push_back({Kind::commit, one.id, 0, leaf, 0});
    one.length += leaf < 0 ? 0 : depth[static_cast<std::size_t>(leaf)];
    end_those_that_are_full();
    if (!live_.empty()) decode();
  }

  void take_back() {
    Live& one = any();
    if (one.length < 2) return decode();
    const Index count = draws_.between(1, std::min<Index>(one.length - 1, 3));
    before_.push_back({Kind::popn, one.id, 0, count, 0});
    one.length -= count;
    decode();
  }

  void end(std::size_t which) {
    before_.push_back({Kind::remove, live_[which].id, 0, 0, 0});
    live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(which));
  }

  void end_those_that_are_full() {
    for (std::size_t i = live_.size(); i-- > 0;) {
      if (room(live_[i]) < 1) end(i);
    }
  }

  void call(Method method, const std::vector<SeqId>& ids, const std::vector<Index>& lengths) {
    Call call;
    call.label = fmt::format("{}/{} {}", story_.name, story_.calls.size(), backends::name(method));
    call.before = std::exchange(before_, {});
    call.method = method;
    call.ids = ids;
    call.lengths = lengths;
    const Index rows = std::accumulate(lengths.begin(), lengths.end(), Index{0});
    call.tokens = tokens_.take(rows);
    if (method == Method::batch_prefill) {
      Index end = 0;
      for (const Index length : lengths) call.logit_positions.push_back(static_cast<std::int32_t>((end += length) - 1));
    }
    story_.limits.prefill_chunk_size = std::max(story_.limits.prefill_chunk_size, rows);
    story_.calls.push_back(std::move(call));
  }

  Draws draws_;
  harness::Tokens tokens_;
  Index longest_;
  harness::Story story_;
  std::vector<CacheOperation> before_;
  std::vector<Live> live_;
  SeqId next_id_ = 0;
};

}  // namespace

harness::Story make_workload(const ModelConfig& config, std::uint64_t seed, Index number, Index calls) {
  return Server(config, seed, number).run(calls);
}

}  // namespace mlbench::soak
