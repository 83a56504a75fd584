#include "harness/schedules.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <span>

#include <fmt/format.h>

#include "harness/chained_reference.h"
#include "harness/dirty_cache.h"
#include "harness/tokens.h"
#include "models/tensor_inventory.h"

namespace mlbench::harness {
namespace {

using backends::Method;
using Kind = CacheOperation::Kind;
using Ids = std::vector<std::int32_t>;
// A tap's row of the sequence's token at a position, heads side by side: as the backend gave it, because the rows of
// all schedules are held at once.
using Row = HostTensor;
using RowsByTap = std::map<std::pair<Index, Tap>, std::map<Index, Row>>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr Index kLength = 21;  // across a border of pages of 16
// Bytes of rows that are held at once, at least, and in proportion to parameters: little beside the weights. Where
// those of all taps take more, the schedules run several times, each for some taps.
constexpr std::uint64_t kLeastRoom = std::uint64_t{192} << 20U, kParametersPerByte = 6;
constexpr SeqId kOther = 2, kThird = 9;

class ScheduleWriter {
 public:
  ScheduleWriter(std::string name, const Ids& tokens, Index page_size) : tokens_(tokens) {
    story_.name = std::move(name);
    story_.limits = {.max_batch_size = 3,
                     .max_total_seq_len = 4 * kLength + 6 * page_size,
                     .prefill_chunk_size = 3 * kLength,
                     .page_size = page_size};
  }

  ScheduleWriter& before(CacheOperation operation) {
    before_.push_back(operation);
    return *this;
  }

  // The next `count` tokens of our sequence, after those of others in the same call.
  ScheduleWriter& call(Method method, Index count, const std::vector<std::pair<SeqId, Index>>& others = {}) {
    Call call;
    call.label = fmt::format("{}/{}", story_.name, story_.calls.size());
    call.before = std::exchange(before_, {});
    call.method = method;
    for (const auto& [id, length] : others) {
      call.ids.push_back(id);
      call.lengths.push_back(length);
      for (Index i = 0; i < length; ++i)
        call.tokens.push_back(tokens_[static_cast<std::size_t>((i * 5 + id) % kLength)]);
    }
    if (count > 0) {
      call.ids.push_back(kOwnSequence);
      call.lengths.push_back(count);
      for (Index i = 0; i < count; ++i) call.tokens.push_back(tokens_[static_cast<std::size_t>(next_++)]);
    }
    if (method == Method::batch_prefill) call.logit_positions = {static_cast<std::int32_t>(call.rows() - 1)};
    story_.calls.push_back(std::move(call));
    return *this;
  }

  ScheduleWriter& chain() {  // the call just written, as a token tree without branches
    std::vector<Index> parents(story_.calls.back().tokens.size());
    std::iota(parents.begin(), parents.end(), Index{-1});
    story_.calls.back().tree_parents = std::move(parents);
    return *this;
  }

  Story finish() { return std::move(story_); }

 private:
  const Ids& tokens_;
  Story story_;
  std::vector<CacheOperation> before_;
  Index next_ = 0;
};

CacheOperation add(SeqId id) { return {Kind::add, id, 0, 0, 0}; }

bool cuts_matter(const ModelConfig& config) {
  return config.rope.kind == RopeKind::dynamic || config.rope.kind == RopeKind::longrope;
}

// ---- running one ----

// The rows of a tap that belong to our sequence, under their positions.
void take_rows(const Call& call, TapLayout layout, const HostTensor& tap, const std::vector<std::int32_t>& positions,
               std::map<Index, Row>& out) {
  if (layout == TapLayout::probs) return;  // as long as the longest sequence of the call
  const std::vector<Index> sequences = call.row_sequences();
  const Index rows = call.rows(), heads = layout == TapLayout::heads ? tap.shape()[0] : 1, width = tap.shape().back();
  const std::size_t bytes = static_cast<std::size_t>(width) * size_bytes(tap.dtype());
  for (Index t = 0; t < rows; ++t) {
    const auto i = static_cast<std::size_t>(t);
    if (call.ids[static_cast<std::size_t>(sequences[i])] != kOwnSequence) continue;
    Row row(tap.dtype(), {heads * width});
    auto to = row.bytes().begin();
    for (Index h = 0; h < heads; ++h) {
      const auto part = tap.bytes().subspan(static_cast<std::size_t>(h * rows + t) * bytes, bytes);
      to = std::ranges::copy(part, to).out;
    }
    out[positions[i]] = std::move(row);
  }
}

struct Run {
  RowsByTap rows;
  HostTensor last;  // the last call's result
};

Run run_story(const Story& story, const ModelConfig& config, backends::Session& session, std::span<const TapId> taps,
              const FaultReport& fault) {
  Run out;
  const auto cache = session.create_paged_kv_cache(story.limits);
  make_dirty(config, story.limits, session, *cache, fault);
  const std::vector<TapSpec> specs = tap_specs(config);
  for (const Call& call : story.calls) {
    const GivenTaps given = run_call(call, config, session, *cache, {.taps = taps, .fault = fault});
    for (const TapId id : taps) {
      const HostTensor* tap = given.find(id);
      if (tap == nullptr || id.tap == Tap::logits) continue;
      take_rows(call, spec_of(specs, id.tap).layout, *tap, given.positions(), out.rows[{id.layer, id.tap}]);
    }
    out.last = *given.find({Tap::logits, -1});
  }
  const Index width = out.last.shape().back();
  Row last(out.last.dtype(), {width});
  std::ranges::copy(out.last.bytes().last(last.bytes().size()), last.bytes().begin());
  out.rows[{-1, Tap::logits}][kLength - 1] = std::move(last);
  return out;
}

// The limit of each row of each tap in the first schedule: exact values do not depend on which it is.
std::map<std::pair<Index, Tap>, std::map<Index, double>> limits_of(const Story& story, const ref::Reference& reference,
                                                                   const ErrorModel& errors, std::uint64_t seed) {
  std::map<std::pair<Index, Tap>, std::map<Index, double>> out;
  ChainedReference chain(reference, errors.model(), errors, seed, story.limits, kMoved);
  for (const Call& call : story.calls) {
    chain.run(call, [&](TapId id, const TapRows& at, const ref::Tensor&, const std::vector<double>& limits) {
      for (std::size_t t = 0; t < limits.size(); ++t) out[{id.layer, id.tap}][at.positions[t]] = limits[t];
    });
  }
  return out;
}

// ---- comparing two ----

struct Difference {
  double largest = 0.0, ratio = 0.0;
  std::string first_tap;
  Index position = -1;
};

double largest_difference(const HostTensor& given, const HostTensor& other) {
  const ref::Tensor a = given.widened(), b = other.widened();
  double out = 0.0;
  for (std::size_t i = 0; i < a.values().size(); ++i) {
    const double x = a.values()[i], y = b.values()[i];
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double apart = std::fabs(x - y);
    if (std::isnan(apart)) return kInfinity;
    out = std::max(out, apart);
  }
  return out;
}

// Adds what two runs differ by in some taps, which follow those that were added before.
template <class Limits>
void add_difference(const Run& run, const Run& other_run, std::span<const TapId> taps, const Limits& limits,
                    Difference& out) {
  const RowsByTap &a = run.rows, &b = other_run.rows;
  for (const TapId id : taps) {
    const auto in_a = a.find({id.layer, id.tap}), in_b = b.find({id.layer, id.tap});
    if (in_a == a.end() || in_b == b.end()) continue;
    for (const auto& [position, row] : in_a->second) {
      const auto other = in_b->second.find(position);
      if (other == in_b->second.end() || row == other->second) continue;
      const double apart = largest_difference(row, other->second);
      if (apart == 0.0) continue;
      if (out.first_tap.empty()) {
        out.first_tap = to_string(id);
        out.position = position;
      }
      out.largest = std::max(out.largest, apart);
      const double limit = 2.0 * limits(id, position);
      const double ratio = apart / limit;  // infinite where the limit is 0
      out.ratio = std::max(out.ratio, ratio);
    }
  }
}

Invariance invariance(const char* property, const Difference& d, bool required) {
  Invariance out{.property = property, .holds = d.first_tap.empty(), .required = required};
  out.max_difference = d.largest;
  out.first_tap = d.first_tap;
  return out;
}

std::uint64_t room_for_rows(const ModelConfig& config) {
  return std::max(kLeastRoom, static_cast<std::uint64_t>(parameter_count(config)) / kParametersPerByte);
}

std::uint64_t bytes_of_all_rows(const ModelConfig& config, Index stories, DType taps) {
  return static_cast<std::uint64_t>(stories * kLength * tap_values_per_row(config) * config.num_layers) *
         size_bytes(taps);
}

using RunStory = std::function<Run(std::size_t story, std::span<const TapId> taps)>;

struct Differences {
  std::vector<Difference> pairs;  // of stories a < b, at a * stories + b
  Difference again;               // of the first story and the same once more
  HostTensor last;                // of the first story
};

template <class Limits>
Differences differences(std::size_t stories, const RunStory& run, std::span<const TapId> taps, std::size_t at_once,
                        const Limits& limits) {
  Differences out;
  out.pairs.resize(stories * stories);
  for (std::size_t first = 0; first < taps.size(); first += at_once) {
    const auto some = taps.subspan(first, std::min(at_once, taps.size() - first));
    std::vector<Run> runs;
    for (std::size_t story = 0; story < stories; ++story) runs.push_back(run(story, some));
    for (std::size_t a = 0; a < stories; ++a) {
      for (std::size_t b = a + 1; b < stories; ++b)
        add_difference(runs[a], runs[b], some, limits, out.pairs[a * stories + b]);
    }
    add_difference(runs[0], run(0, some), some, limits, out.again);
    out.last = std::move(runs[0].last);
  }
  return out;
}

}  // namespace

Plan make_schedules(const ModelConfig& config, std::uint64_t seed) {
  const Ids tokens = Tokens(config.vocab_size, seed).take(kLength);
  if (longest_sequence(config) < kLength + 1) return {};
  const auto writer = [&](const char* name, Index page_size = 16) { return ScheduleWriter(name, tokens, page_size); };
  const CacheOperation own = add(kOwnSequence);
  Plan plan;
  plan.push_back(writer("whole").before(own).call(Method::prefill, kLength).finish());
  plan.push_back(writer("batched")
                     .before(add(kOther))
                     .before(own)
                     .before(add(kThird))
                     .call(Method::batch_prefill, kLength, {{kOther, 13}, {kThird, 2}})
                     .finish());
  plan.push_back(writer("verified").before(own).call(Method::batch_verify, kLength).finish());
  plan.push_back(writer("tree").before(own).call(Method::batch_verify, kLength).chain().finish());
  plan.push_back(writer("page size 1", 1).before(own).call(Method::prefill, kLength).finish());
  plan.push_back(writer("page size 7", 7).before(own).call(Method::prefill, kLength).finish());
  if (cuts_matter(config)) return plan;
  plan.push_back(writer("chunked")
                     .before(own)
                     .call(Method::prefill, 3)
                     .call(Method::prefill, 13)
                     .call(Method::prefill, kLength - 16)
                     .finish());
  auto one_by_one = writer("one by one");
  one_by_one.before(own);
  for (Index i = 0; i < kLength; ++i) one_by_one.call(Method::decode, 1);
  plan.push_back(one_by_one.finish());
  // The first tokens stand in another sequence, of which ours is a fork in the middle of a page.
  auto forked = writer("forked");
  forked.before(own).call(Method::prefill, 10);
  forked.before({Kind::fork, kOwnSequence, kOther, -1, 0}).call(Method::batch_decode, 1, {{kOther, 1}});
  forked.before({Kind::remove, kOther, 0, 0, 0}).call(Method::prefill, kLength - 11);
  plan.push_back(forked.finish());
  auto popped = writer("popped");
  popped.before(own).before(add(kOther)).call(Method::batch_prefill, 12, {{kOther, 6}});
  popped.before({Kind::fork, kOther, kThird, 3, 0}).before({Kind::popn, kOther, 0, 4, 0});
  popped.call(Method::batch_decode, 1, {{kThird, 1}, {kOther, 1}}).call(Method::prefill, kLength - 13);
  plan.push_back(popped.finish());
  return plan;
}

std::uint64_t schedules_bytes(const ModelConfig& config) {
  const auto stories = static_cast<Index>(make_schedules(config, 0).size()) + 1;  // and once more
  return std::min(room_for_rows(config), bytes_of_all_rows(config, stories, DType::f32));
}

ScheduleResults compare_schedules(const ref::Reference& reference, const ErrorModel& errors, backends::Session& session,
                                  std::uint64_t seed, const FaultReport& fault, std::optional<std::uint64_t> room,
                                  backends::Session* in_one_piece) {
  const ModelConfig& config = reference.config();
  const Plan plan = make_schedules(config, seed);
  ScheduleResults out;
  if (plan.empty()) return out;
  const auto by_row = limits_of(plan.front(), reference, errors, seed);
  const auto limit = [&](TapId id, Index position) { return by_row.at({id.layer, id.tap}).at(position); };
  const RunStory run = [&](std::size_t story, std::span<const TapId> taps) {
    return run_story(plan[story], config, session, taps, fault);
  };
  const std::vector<TapId> taps = all_taps(config);
  const std::uint64_t bytes =
      bytes_of_all_rows(config, static_cast<Index>(plan.size()) + 1, session.arithmetic().activations);
  const Differences all =
      differences(plan.size(), run, taps, taps.size() / (bytes / room.value_or(room_for_rows(config)) + 1) + 1, limit);
  for (std::size_t a = 0; a < plan.size(); ++a) {
    for (std::size_t b = a + 1; b < plan.size(); ++b) {
      const Difference& d = all.pairs[a * plan.size() + b];
      out.pairs.push_back({plan[a].name, plan[b].name, d.first_tap.empty(), d.largest, d.ratio, d.first_tap, d.position,
                           d.ratio <= 1.0});
    }
  }
  out.invariances.push_back(invariance("run to run", all.again, in_one_piece != nullptr));
  out.invariances.push_back(invariance("batch", all.pairs[1], false));
  const Run bare = run(0, {});
  Difference with_taps;
  if (bare.last != all.last) {
    with_taps.first_tap = "logits";
    with_taps.largest = largest_difference(all.last, bare.last);
  }
  // Where two runs of the same differ anyway, nothing follows from these two.
  out.invariances.push_back(invariance("taps on = off", with_taps, out.invariances.front().holds));
  if (in_one_piece != nullptr) {
    const Run split = run(0, taps), whole = run_story(plan.front(), config, *in_one_piece, taps, fault);
    Difference apart;
    add_difference(split, whole, taps, limit, apart);
    out.invariances.push_back(invariance("split = in one piece", apart, false));
  }
  for (Invariance& i : out.invariances) i.call = plan[i.property == "batch" ? 1 : 0].calls.front().label;
  return out;
}

}  // namespace mlbench::harness
