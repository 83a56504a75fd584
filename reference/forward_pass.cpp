#include "reference/forward_pass.h"

#include <algorithm>

namespace mlbench::ref {

ForwardPass::ForwardPass(PagedKvCache& cache, const Rope* rope, const Ops& ops)
    : cache_(&cache), plan_(&cache.plan()), rope_(rope), ops_(&ops) {
  if (rope_ == nullptr) return;
  for (const PlannedSequence& sequence : plan_->sequences) frequencies_.push_back(rope_->frequencies(sequence.total));
  const Index half = rope_->rotary_dim() / 2;
  cos_ = Tensor({rows(), 2 * half});
  sin_ = Tensor({rows(), 2 * half});
  for (Index t = 0; t < rows(); ++t) {
    const PlannedRow& row = plan_->rows[static_cast<std::size_t>(t)];
    const Rope::Angles angles = rope_->angles(row.position, frequencies_[static_cast<std::size_t>(row.sequence)]);
    for (const Index start : {Index{0}, half}) {
      std::ranges::copy(angles.cos, cos_.row(t).begin() + start);
      std::ranges::copy(angles.sin, sin_.row(t).begin() + start);
    }
  }
}

void ForwardPass::set_rotation(Tensor cos, Tensor sin) {
  cos_ = std::move(cos);
  sin_ = std::move(sin);
}

Tensor ForwardPass::rotated(const Tensor& x) const {
  Tensor out = x;
  const Index heads = x.dim(1);
  for (Index t = 0; t < rows(); ++t) {
    for (Index h = 0; h < heads; ++h) {
      rotate(out.row(t * heads + h).data(), cos_.row(t).data(), sin_.row(t).data(), rope_->rotary_dim());
    }
  }
  return out;
}

Tensor ForwardPass::key_to_store(const Tensor& keys) const {
  return cache_->shape().rope_mode == RopeMode::in_line ? keys : rotated(keys);
}

void ForwardPass::append(Index layer, const Tensor& keys, const Tensor& values) {
  const Index heads = keys.dim(1);
  for (Index t = 0; t < rows(); ++t) {
    const PlannedRow& row = plan_->rows[static_cast<std::size_t>(t)];
    const PlannedSequence& sequence = plan_->sequences[static_cast<std::size_t>(row.sequence)];
    const Index slot = sequence.slots[static_cast<std::size_t>(row.entry)];
    for (Index h = 0; h < heads; ++h) cache_->store(layer, slot, h, keys.row(t * heads + h), values.row(t * heads + h));
  }
}

struct ForwardPass::HeadView {
  std::vector<std::span<const double>> keys, values;  // by entry, each [d]
  Tensor rotated_keys;                                // holds the keys where they were rotated just now
};

ForwardPass::HeadView ForwardPass::head_view(Index layer, Index sequence, Index kv_head) const {
  const PlannedSequence& planned = plan_->sequences[static_cast<std::size_t>(sequence)];
  HeadView view;
  for (const Index slot : planned.slots) {
    view.keys.push_back(cache_->key(layer, slot, kv_head));
    view.values.push_back(cache_->value(layer, slot, kv_head));
  }
  if (cache_->shape().rope_mode != RopeMode::in_line) return view;
  const std::vector<double>& frequencies = frequencies_[static_cast<std::size_t>(sequence)];
  view.rotated_keys = Tensor({planned.total, cache_->shape().head_dim});
  for (Index entry = 0; entry < planned.total; ++entry) {
    const auto i = static_cast<std::size_t>(entry);
    const Rope::Angles angles = rope_->angles(entry, frequencies);
    std::ranges::copy(view.keys[i], view.rotated_keys.row(entry).begin());
    rotate(view.rotated_keys.row(entry).data(), angles.cos.data(), angles.sin.data(), rope_->rotary_dim());
    view.keys[i] = view.rotated_keys.row(entry);
  }
  return view;
}

Tensor ForwardPass::attention(Index layer, const Tensor& q, double alpha, const Taps& tap) const {
  const Index heads = q.dim(1);
  const Index head_dim = q.dim(2);
  const Index group = heads / cache_->shape().num_kv_heads;
  const auto sequences = static_cast<Index>(plan_->sequences.size());
  Index longest = 0;
  for (const PlannedSequence& sequence : plan_->sequences) longest = std::max(longest, sequence.total);
  const bool keep_probs = tap.wants(Tap::probs);
  Tensor probs(keep_probs ? Shape{heads, rows(), longest} : Shape{0});
  Tensor context({rows(), heads * head_dim});

  ops_->workers().each(sequences * heads, [&](Index item) {
    const Index sequence = item / heads;
    const Index h = item % heads;
    const HeadView view = head_view(layer, sequence, h / group);
    for (Index t = 0; t < rows(); ++t) {
      const PlannedRow& row = plan_->rows[static_cast<std::size_t>(t)];
      if (row.sequence != sequence) continue;
      std::vector<Index> visible(static_cast<std::size_t>(row.prefix));
      for (Index entry = 0; entry < row.prefix; ++entry) visible[static_cast<std::size_t>(entry)] = entry;
      visible.insert(visible.end(), row.path.begin(), row.path.end());

      Vector weights(visible.size());
      for (std::size_t j = 0; j < visible.size(); ++j) {
        weights[j] = alpha * dot(q.row(t * heads + h), view.keys[static_cast<std::size_t>(visible[j])]);
      }
      softmax(weights);
      double* out = context.row(t).data() + h * head_dim;
      for (std::size_t j = 0; j < visible.size(); ++j) {
        const auto value = view.values[static_cast<std::size_t>(visible[j])];
        for (Index i = 0; i < head_dim; ++i) out[i] += weights[j] * value[static_cast<std::size_t>(i)];
        if (keep_probs) probs.row(h * rows() + t)[static_cast<std::size_t>(visible[j])] = weights[j];
      }
    }
  });
  if (keep_probs) (void)tap(Tap::probs, std::move(probs));
  return context;
}

}  // namespace mlbench::ref
