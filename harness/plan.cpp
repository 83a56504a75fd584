#include "harness/plan.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "core/error.h"
#include "core/near_names.h"
#include "harness/tokens.h"

namespace mlbench::harness {
namespace {

using backends::Method;
using Kind = CacheOperation::Kind;
using Ids = std::vector<std::int32_t>;

// Writes one story call by call.
class StoryWriter {
 public:
  StoryWriter(std::string name, Tokens& tokens) : tokens_(tokens) { story_.name = std::move(name); }

  StoryWriter& add(SeqId id) { return before({Kind::add, id, 0, 0, 0}); }
  StoryWriter& remove(SeqId id) { return before({Kind::remove, id, 0, 0, 0}); }
  StoryWriter& fork(SeqId parent, SeqId child, Index pos) { return before({Kind::fork, parent, child, pos, 0}); }
  StoryWriter& popn(SeqId id, Index count) { return before({Kind::popn, id, 0, count, 0}); }
  StoryWriter& commit(SeqId id, Index leaf) { return before({Kind::commit, id, 0, leaf, 0}); }
  StoryWriter& window(SeqId id, Index size, Index sink) { return before({Kind::window, id, 0, size, sink}); }

  StoryWriter& call(Method method, std::vector<SeqId> ids, std::vector<Index> lengths, Ids logit_positions = {}) {
    const Index rows = std::accumulate(lengths.begin(), lengths.end(), Index{0});
    Call call;
    call.label = fmt::format("{}/{} {}", story_.name, story_.calls.size(), name(method));
    call.before = std::move(before_);
    call.method = method;
    call.ids = std::move(ids);
    call.lengths = std::move(lengths);
    call.tokens = tokens_.take(rows);
    call.logit_positions = std::move(logit_positions);
    before_.clear();
    entries_ += rows;
    story_.limits.prefill_chunk_size = std::max(story_.limits.prefill_chunk_size, rows);
    story_.calls.push_back(std::move(call));
    return *this;
  }

  // Rows of x behind those of the call just written.
  StoryWriter& padded(Index rows) {
    story_.calls.back().padding = rows;
    return *this;
  }

  StoryWriter& tree(Method method, SeqId id, std::vector<Index> parents) {
    call(method, {id}, {static_cast<Index>(parents.size())});
    story_.calls.back().tree_parents = std::move(parents);
    return *this;
  }

  Story finish(Index page_size, Index sequences) {
    story_.limits.page_size = page_size;
    story_.limits.max_batch_size = sequences;
    // Every sequence may leave its last page partly empty, and a fork copies one.
    story_.limits.max_total_seq_len = entries_ + 2 * sequences * page_size;
    return std::move(story_);
  }

 private:
  StoryWriter& before(CacheOperation operation) {
    before_.push_back(operation);
    return *this;
  }

  Tokens& tokens_;
  Story story_;
  std::vector<CacheOperation> before_;
  Index entries_ = 0;
};

// One sequence: prompt across a page border, then token by token, in both forms of the methods.
Story single(Tokens& tokens, Index prompt, Index page_size) {
  StoryWriter story("single", tokens);
  story.add(0)
      .call(Method::prefill, {0}, {prompt})
      .padded(5)
      .call(Method::decode, {0}, {1})
      .call(Method::decode_to_last_hidden_states, {0}, {1})
      .popn(0, 2)
      .call(Method::prefill_to_last_hidden_states, {0}, {3});
  return story.finish(page_size, 1);
}

// Sequences of different lengths together, one of them a single token; a fork in the middle of a page; decoding at
// positions of their own; a token tree that is verified, committed and gone on from.
Story batch(Tokens& tokens, const std::vector<Index>& prompts, Index page_size) {
  StoryWriter story("batch", tokens);
  std::vector<SeqId> ids;
  Ids last;
  Index rows = 0;
  for (const Index prompt : prompts) {
    ids.push_back(static_cast<SeqId>(ids.size()));
    story.add(ids.back());
    last.push_back(static_cast<std::int32_t>((rows += prompt) - 1));
  }
  Ids positions = last;
  positions.push_back(0);  // any order, any number
  std::ranges::reverse(positions);
  const auto forked = static_cast<SeqId>(ids.size());
  std::vector<SeqId> with_fork = ids;
  with_fork.push_back(forked);
  const std::vector<SeqId> reversed(with_fork.rbegin(), with_fork.rend());
  const std::vector<Index> parents = {-1, 0, 0, 1, -1, 3, 2, 5};
  story.call(Method::batch_prefill, ids, prompts, positions)
      .call(Method::batch_decode, ids, std::vector<Index>(ids.size(), 1))
      .fork(0, forked, prompts[0] / 2 + 1)
      .call(Method::batch_decode, reversed, std::vector<Index>(reversed.size(), 1))
      .call(Method::batch_decode_to_last_hidden_states, with_fork, std::vector<Index>(with_fork.size(), 1))
      .tree(Method::batch_verify, 0, parents)
      .padded(2)
      .commit(0, 5)
      .call(Method::decode, {0}, {1})
      .tree(Method::batch_verify_to_last_hidden_states, forked, {-1, -1, 0, 1})
      .commit(forked, -1);
  if (ids.size() > 1) story.remove(ids.back());
  story.call(Method::batch_prefill_to_last_hidden_states, {forked, 0}, {2, 4});
  return story.finish(page_size, forked + 1);
}

// Prompts that end just before, at and just behind the end of a page, decoded across it; a fork and popn there.
Story pages(Tokens& tokens, Index page_size, Index room) {
  const Index n = std::min(page_size, room - 4);
  StoryWriter story("pages", tokens);
  for (SeqId id = 0; id < 3; ++id) story.add(id);
  story.call(Method::batch_prefill, {0, 1, 2}, {std::max<Index>(1, n - 1), n, n + 1}, {0})
      .call(Method::batch_decode, {0, 1, 2}, {1, 1, 1})
      .fork(2, 3, n)
      .popn(1, 1)
      .call(Method::batch_decode, {3, 2, 1, 0}, {1, 1, 1, 1})
      .popn(2, 2)
      .call(Method::batch_prefill, {2, 3}, {2, 2}, {3, 1});
  return story.finish(page_size, 4);
}

// A window that slides over whole pages and parts of them, with a sink, beside a sequence without one.
Story windows(Tokens& tokens) {
  StoryWriter story("window", tokens);
  story.add(0)
      .add(1)
      .window(0, 8, 2)
      .call(Method::batch_prefill, {0, 1}, {10, 4}, {9, 13})
      .call(Method::batch_decode, {0, 1}, {1, 1})
      .call(Method::decode, {0}, {1})
      .call(Method::prefill, {0}, {5})
      .call(Method::decode_to_last_hidden_states, {0}, {1});
  Story out = story.finish(4, 2);
  out.limits.support_sliding_window = true;
  return out;
}

// A prompt in pieces that meet neither pages nor each other's lengths.
// `room`: the positions that there are for all of them.
Story chunked(Tokens& tokens, const std::vector<Index>& pieces, Index page_size, Index room) {
  StoryWriter story("chunked", tokens);
  story.add(0);
  for (const Index piece : pieces) {
    const Index length = std::min(piece, room);
    if (length < 1) break;
    story.call(Method::prefill, {0}, {length});
    room -= length;
  }
  story.call(Method::batch_verify, {0}, {3});
  return story.finish(page_size, 1);
}

}  // namespace

Index longest_sequence(const ModelConfig& config) {
  if (config.architecture == Architecture::gpt_bigcode) return config.num_positions;
  return config.rope.max_positions;
}

Shape Call::input_shape(Index hidden_size) const {
  using backends::Method;
  const bool decode = method == Method::batch_decode || method == Method::batch_decode_to_last_hidden_states;
  return decode ? Shape{rows(), 1, hidden_size} : Shape{1, rows() + padding, hidden_size};
}

Shape Call::result_shape(const ModelConfig& config) const {
  Shape shape = input_shape(config.hidden_size);
  if (backends::returns_hidden(method)) return shape;
  shape[2] = config.vocab_size;
  if (method == Method::prefill) shape[1] = 1;
  if (method == Method::batch_prefill) shape[1] = static_cast<Index>(logit_positions.size());
  return shape;
}

std::vector<std::int32_t> Call::result_rows() const {
  if (method == backends::Method::batch_prefill) return logit_positions;
  if (method == backends::Method::prefill) return {static_cast<std::int32_t>(rows()) - 1};
  std::vector<std::int32_t> all(tokens.size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

std::vector<Index> Call::row_sequences() const {
  std::vector<Index> out;
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    out.insert(out.end(), static_cast<std::size_t>(lengths[s]), static_cast<Index>(s));
  }
  return out;
}

Plan make_plan(const ModelConfig& config, Extent extent, std::uint64_t seed, const std::vector<Index>& prompts) {
  Tokens tokens(config.vocab_size, seed);
  const Index room = longest_sequence(config) - 16;  // what follows a prompt in its story
  const auto fit = [&](Index length) { return std::clamp<Index>(length, 1, std::max<Index>(1, room)); };
  Plan plan;
  if (!prompts.empty()) {
    for (const Index prompt : prompts) {
      if (prompt >= 1 && prompt <= std::max<Index>(1, room)) continue;
      throw request_error("input.position_range",
                          fmt::format("a prompt of {} tokens: 1 to {} fit the model's positions "
                                      "with what follows",
                                      prompt, std::max<Index>(1, room)));
    }
    const Index most = *std::ranges::max_element(prompts), piece = std::max<Index>(1, most * 2 / 5);
    plan.push_back(single(tokens, prompts.front(), 16));
    plan.push_back(batch(tokens, prompts, 16));
    plan.push_back(chunked(tokens, {piece, std::max<Index>(1, most - piece)}, 16, std::max<Index>(1, room)));
    return plan;
  }
  plan.push_back(single(tokens, fit(19), 16));
  plan.push_back(batch(tokens, {fit(17), fit(1), fit(9)}, 16));
  plan.push_back(chunked(tokens, {5, 12}, 1, std::max<Index>(1, room)));
  if (room > 16) {
    plan.push_back(pages(tokens, 8, room));
    plan.push_back(windows(tokens));
  }
  if (extent == Extent::quick) return plan;
  // Past the length at which scaling begins, where it is near enough to be run.
  const Index border = config.rope.original_max_positions;
  const Index past = border > 0 && border <= 512 ? border + 40 : 130;
  Plan more;
  more.push_back(single(tokens, fit(past), 32));
  more.push_back(batch(tokens, {fit(33), fit(past / 2), fit(1), fit(16), fit(48)}, 1));
  more.push_back(chunked(tokens, {16, 1, 31, past / 3}, 7, std::max<Index>(1, room)));
  for (Story& story : more) {
    story.name = "long-" + story.name;
    for (Call& call : story.calls) call.label = "long-" + call.label;
    plan.push_back(std::move(story));
  }
  return plan;
}

Plan with_methods(const Plan& plan, std::span<const backends::Method> methods) {
  Plan out;
  const auto wanted = [&](const Call& call) { return std::ranges::find(methods, call.method) != methods.end(); };
  for (const Story& story : plan) {
    std::size_t keep = 0;
    for (std::size_t i = 0; i < story.calls.size(); ++i) {
      if (wanted(story.calls[i])) keep = i + 1;
    }
    if (keep == 0) continue;
    out.push_back(story);
    out.back().calls.resize(keep);
  }
  if (out.empty()) throw request_error("method.not_in_plan", "no call of this run has one of the methods asked for");
  return out;
}

Plan up_to_call(const Plan& plan, const std::string& label) {
  std::vector<std::string> labels;
  for (const Story& story : plan) {
    for (std::size_t i = 0; i < story.calls.size(); ++i) {
      labels.push_back(story.calls[i].label);
      if (story.calls[i].label != label) continue;
      Plan out{story};
      out.back().calls.resize(i + 1);
      return out;
    }
  }
  throw request_error("plan.label", fmt::format("no call of this run is labelled {}{}", in_quotes(label),
                                                near_names_hint(label, labels, "the table of a run")));
}

Index total_calls(const Plan& plan) {
  Index calls = 0;
  for (const Story& story : plan) calls += static_cast<Index>(story.calls.size());
  return calls;
}

Index total_rows(const Plan& plan) {
  Index rows = 0;
  for (const Story& story : plan) {
    for (const Call& call : story.calls) rows += call.rows();
  }
  return rows;
}

Index largest_call(const Plan& plan) {
  Index rows = 0;
  for (const Story& story : plan) {
    for (const Call& call : story.calls) rows = std::max(rows, call.rows());
  }
  return rows;
}

}  // namespace mlbench::harness
