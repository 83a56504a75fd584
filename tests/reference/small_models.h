// Small models for tests of the reference: the architectures' small presets with synthetic weights, cut down further.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/workers.h"
#include "models/presets.h"
#include "models/synthetic.h"
#include "reference/reference.h"

namespace mlbench::ref::test {

using Ids = std::vector<std::int32_t>;

// The small preset with `overrides` in its config.json; two layers unless they say otherwise.
[[nodiscard]] Model small_model(Architecture architecture, const nlohmann::json& overrides = nlohmann::json::object());

// `count` token ids below 1000, scattered by `seed`.
[[nodiscard]] Ids some_tokens(Index count, std::uint32_t seed = 1);

// A reference and a cache of its own, driven the way an engine does.
class Driver {
 public:
  explicit Driver(Model model, int threads = 1, RopeCompat compat = RopeCompat::f64);

  [[nodiscard]] const Reference& reference() const { return reference_; }
  [[nodiscard]] PagedKvCache make_cache(Index page_size = 16, bool sliding_window = false) const;

  // Embeds `tokens`, announces them for the sequences, and returns all rows' logits [N, V] (batch_verify).
  Tensor forward(PagedKvCache& cache, const std::vector<SeqId>& ids, const std::vector<Index>& lengths,
                 const Ids& tokens, const std::optional<std::vector<Index>>& parents = std::nullopt,
                 TapSink* taps = nullptr) const;
  Tensor forward(PagedKvCache& cache, SeqId id, const Ids& tokens) const {
    return forward(cache, {id}, {static_cast<Index>(tokens.size())}, tokens);
  }
  // The embedded tokens in prefill shape [1, n, h].
  [[nodiscard]] Tensor embedded(const Ids& tokens) const;

 private:
  Workers workers_;
  Reference reference_;
};

// Rows [first, first + count) of a matrix, or of a tensor taken as one.
[[nodiscard]] Tensor rows_of(const Tensor& x, Index first, Index count);
[[nodiscard]] Ids slice(const Ids& ids, std::size_t first, std::size_t count);
[[nodiscard]] Ids joined(const Ids& a, const Ids& b);

}  // namespace mlbench::ref::test
