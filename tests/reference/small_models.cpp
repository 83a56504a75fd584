#include "tests/reference/small_models.h"

#include <algorithm>

namespace mlbench::ref::test {

Model small_model(Architecture architecture, const nlohmann::json& overrides) {
  nlohmann::json fields = {{architecture == Architecture::gpt_bigcode ? "n_layer" : "num_hidden_layers", 2}};
  fields.update(overrides);
  Workers workers(2);
  return make_synthetic(preset_config(small_preset(architecture), fields), DType::f32, 7, workers);
}

Ids some_tokens(Index count, std::uint32_t seed) {
  Ids ids;
  std::uint32_t state = seed;
  for (Index i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;  // Numerical Recipes' generator: any will do
    ids.push_back(static_cast<std::int32_t>((state >> 8U) % 1000U));
  }
  return ids;
}

Driver::Driver(Model model, int threads, RopeCompat compat)
    : workers_(threads), reference_(std::move(model), workers_, compat) {}

PagedKvCache Driver::make_cache(Index page_size, bool sliding_window) const {
  return reference_.create_paged_kv_cache({.max_batch_size = 8,
                                           .max_total_seq_len = 1024,
                                           .prefill_chunk_size = 512,
                                           .page_size = page_size,
                                           .support_sliding_window = sliding_window});
}

Tensor Driver::embedded(const Ids& tokens) const {
  const Tensor x = reference_.embed(tokens);
  return x.reshaped({1, x.rows(), x.cols()});
}

Tensor Driver::forward(PagedKvCache& cache, const std::vector<SeqId>& ids, const std::vector<Index>& lengths,
                       const Ids& tokens, const std::optional<std::vector<Index>>& parents, TapSink* taps) const {
  cache.begin_forward(ids, lengths, parents);
  const Tensor logits = reference_.batch_verify(embedded(tokens), cache, taps);
  cache.end_forward();
  return logits.reshaped({logits.rows(), logits.cols()});
}

Tensor rows_of(const Tensor& x, Index first, Index count) {
  Tensor out({count, x.cols()});
  std::copy_n(x.row(first).begin(), out.size(), out.values().begin());
  return out;
}

Ids slice(const Ids& ids, std::size_t first, std::size_t count) {
  return {ids.begin() + static_cast<std::ptrdiff_t>(first), ids.begin() + static_cast<std::ptrdiff_t>(first + count)};
}

Ids joined(const Ids& a, const Ids& b) {
  Ids out = a;
  out.insert(out.end(), b.begin(), b.end());
  return out;
}

}  // namespace mlbench::ref::test
