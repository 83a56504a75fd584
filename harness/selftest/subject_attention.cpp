#include "harness/selftest/subject_attention.h"

#include <algorithm>
#include <cmath>

namespace mlbench::selftest {

struct Attention::Head {
  Index layer = 0, row = 0;
  Index sequence = 0;  // of the forward
  Index kv_head = 0;
  Index total = 0;               // entries of the sequence
  std::vector<Index> entries{};  // visible ones
};

// ---- what a row sees ----

std::vector<Index> Attention::visible(const SubjectCache& cache, Index row) const {
  const paging::ForwardPlan& plan = cache.plan();
  const paging::PlannedRow& planned = plan.rows[static_cast<std::size_t>(row)];
  const bool plain = planned.path.empty();
  Index first = 0, end = planned.prefix;
  const Index total = plan.sequences[static_cast<std::size_t>(planned.sequence)].total;
  if (plain && end < total && planted_.at(Mistake::mask_sees_next)) ++end;
  if (plain && end > 1 && planted_.at(Mistake::mask_misses_itself)) --end;
  if (plain && planned.prefix <= total) {
    Index appended = 0;
    for (const paging::PlannedRow& other : plan.rows) appended += other.sequence == planned.sequence ? 1 : 0;
    const Index start = total - appended;
    if (start > 0 && appended > 1 && planted_.at(Mistake::mask_starts_at_chunk)) first = start;
  }
  if (plain && end == total && cache.room(planned.sequence) > end && planted_.at(Mistake::mask_of_longest)) ++end;

  std::vector<Index> out;
  for (Index entry = first; entry < end; ++entry) out.push_back(entry);
  std::vector<Index> path = planned.path;
  if (path.size() > 2 && planted_.at(Mistake::tree_misses_grandparent)) path.erase(path.begin(), path.end() - 2);
  if (!plain && planned.entry - planned.prefix >= static_cast<Index>(path.size()) &&
      planted_.at(Mistake::tree_sees_sibling)) {
    path.clear();
    for (Index entry = planned.prefix; entry <= planned.entry; ++entry) path.push_back(entry);
  }
  out.insert(out.end(), path.begin(), path.end());
  return out;
}

Index Attention::kv_head(Index head) const {
  const Index group = config_.num_heads / config_.num_kv_heads;
  if (group > 1 && config_.num_kv_heads > 1 && planted_.at(Mistake::heads_grouped_modulo)) {
    return head % config_.num_kv_heads;
  }
  return head / group;
}

// ---- scores and softmax ----

float Attention::scale() const {
  const bool bigcode = config_.architecture == Architecture::gpt_bigcode;
  const bool scaled = !bigcode || config_.scale_attn_weights;
  const auto d = static_cast<float>(config_.head_dim);
  if (!scaled && !planted_.at(Mistake::scale_always)) return 1.0F;
  if (planted_.at(Mistake::scale_missing)) return 1.0F;
  if (planted_.at(Mistake::scale_twice)) return 1.0F / d;
  const Index nominal = config_.hidden_size / config_.num_heads;
  if (nominal != config_.head_dim && planted_.at(Mistake::scale_of_hidden_size)) {
    return 1.0F / std::sqrt(static_cast<float>(nominal));
  }
  return 1.0F / std::sqrt(d);
}

std::vector<float> Attention::scores(const float* q, const SubjectCache& cache, const Head& head) const {
  const float alpha = scale();
  std::vector<float> out;
  for (const Index entry : head.entries) {
    const float* stored = cache.read(head.layer, SubjectCache::kKey, head.sequence, entry, head.kv_head);
    std::vector<float> key(stored, stored + config_.head_dim);
    const bool past = entry < cache.plan().rows[static_cast<std::size_t>(head.row)].entry;
    const bool again = rope_.rotates() && past && planted_.at(Mistake::keys_rotated_again);
    if (cache.in_line() || again) rope_.rotate(key.data(), rope_.angles(entry, head.total));
    float sum = 0.0F;
    for (Index i = 0; i < config_.head_dim; ++i) sum += q[i] * key[static_cast<std::size_t>(i)];
    out.push_back(alpha * sum);
  }
  return out;
}

void Attention::softmax(std::vector<float>& scores) const {
  if (planted_.at(Mistake::softmax_bf16)) std::ranges::transform(scores, scores.begin(), rounded_to_bf16);
  const float largest = planted_.at(Mistake::softmax_no_maximum) ? 0.0F : *std::ranges::max_element(scores);
  for (float& score : scores) score = std::exp(score - largest);
  std::size_t summed = scores.size();
  if (summed > 8 && summed % 8 != 0 && planted_.at(Mistake::softmax_sum_short)) summed -= summed % 8;
  float total = 0.0F;
  for (std::size_t j = 0; j < summed; ++j) total += scores[j];
  for (float& score : scores) score = rounded(ops_.type(), score / total);
}

// ---- weighted values ----

std::vector<float> Attention::weighted(const std::vector<float>& probs, const SubjectCache& cache,
                                       const Head& head) const {
  std::vector<float> out(static_cast<std::size_t>(config_.head_dim), 0.0F);
  const auto add = [&](float p, Index entry) {
    const float* value = cache.read(head.layer, SubjectCache::kValue, head.sequence, entry, head.kv_head);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] += p * value[i];
  };
  std::size_t count = probs.size();
  if (count > 4 && count % 4 == 1 && planted_.at(Mistake::context_last_key_dropped)) --count;
  for (std::size_t j = 0; j < count; ++j) add(probs[j], head.entries[j]);
  // What the mask hides is multiplied by a probability of 0, up to the end of the page.
  for (Index entry = head.total; entry < cache.room(head.sequence); ++entry) {
    if (planted_.at(Mistake::context_masked_times_nan)) add(0.0F, entry);
  }
  return out;
}

Attention::Result Attention::run(const Rows& q, const SubjectCache& cache, Index layer) const {
  const paging::ForwardPlan& plan = cache.plan();
  const Index rows = q.rows(), heads = config_.num_heads, d = config_.head_dim;
  Index longest = 0;
  for (const paging::PlannedSequence& sequence : plan.sequences) longest = std::max(longest, sequence.total);
  Result out{Rows({heads * rows, longest}), Rows({rows, heads * d})};
  const bool by_group = config_.num_kv_heads < heads && planted_.at(Mistake::heads_context_order);
  for (Index t = 0; t < rows; ++t) {
    const Index sequence = plan.rows[static_cast<std::size_t>(t)].sequence;
    Head head{.layer = layer,
              .row = t,
              .sequence = sequence,
              .kv_head = 0,
              .total = plan.sequences[static_cast<std::size_t>(sequence)].total,
              .entries = visible(cache, t)};
    for (Index h = 0; h < heads; ++h) {
      head.kv_head = kv_head(h);
      std::vector<float> probs = scores(q.row(t).data() + h * d, cache, head);
      softmax(probs);
      for (std::size_t j = 0; j < probs.size(); ++j) {
        if (head.entries[j] < longest)
          out.probs.row(h * rows + t)[static_cast<std::size_t>(head.entries[j])] = probs[j];
      }
      std::vector<float> context = weighted(probs, cache, head);
      const bool off = layer == 1 && h == 1 && planted_.at(Mistake::context_head_off_by_1e_4);
      const Index place = by_group ? (h * config_.num_kv_heads) % heads + h * config_.num_kv_heads / heads : h;
      for (Index i = 0; i < d; ++i) {
        const float value = context[static_cast<std::size_t>(i)] * (off ? 1.0001F : 1.0F);
        out.context.row(t)[static_cast<std::size_t>(place * d + i)] = rounded(ops_.type(), value);
      }
    }
  }
  return out;
}

}  // namespace mlbench::selftest
