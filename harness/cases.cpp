#include "harness/cases.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "harness/tokens.h"
#include "models/presets.h"

namespace mlbench::harness {
namespace {

using backends::Method;

// Sizes of an exact model. Widths lie around powers of two, and some are prime; only Llama's hidden size need not be
// heads times their width.
struct ExactSizes {
  Index heads, kv_heads, hidden, intermediate, vocab;
  std::vector<Index> calls;  // rows of each call: rows 1, around 8, 16 and 32, and 2^k visible entries now and then
};

std::vector<ExactSizes> exact_sizes() {
  return {{3, 1, 47, 31, 61, {7, 1, 8, 15, 1}},
          {4, 2, 65, 64, 127, {1, 1, 2, 9, 3, 16}},
          {5, 5, 97, 129, 257, {31, 1, 17, 15}}};
}

ModelConfig exact_config(const ModelConfig& config, const ExactSizes& sizes) {
  constexpr Index kHeadDim = 16;  // a power of 4: the scale 1/sqrt(d) is exact
  ModelConfig out = preset_config(small_preset(config.architecture));
  const bool llama = config.architecture == Architecture::llama;
  const bool grouped = llama || config.architecture == Architecture::olmo;
  out.num_layers = 2;
  out.num_heads = sizes.heads;
  out.num_kv_heads = out.architecture == Architecture::gpt_bigcode && out.multi_query ? 1
                     : grouped                                                        ? sizes.kv_heads
                                                                                      : sizes.heads;
  out.head_dim = kHeadDim;
  out.hidden_size = llama ? sizes.hidden : sizes.heads * kHeadDim;
  out.intermediate_size = sizes.intermediate;
  out.vocab_size = sizes.vocab;
  out.rope.rotary_dim = out.architecture == Architecture::phi ? kHeadDim / 2 : kHeadDim;
  if (!out.rope.short_factor.empty())
    out.rope.short_factor.assign(static_cast<std::size_t>(out.rope.rotary_dim / 2), 1.0);
  if (!out.rope.long_factor.empty())
    out.rope.long_factor.assign(static_cast<std::size_t>(out.rope.rotary_dim / 2), 2.0);
  return out;
}

// The same in every shard, and a layer at least for every stage.
ModelConfig to_be_split(ModelConfig config, const Split& split) {
  config.num_layers = std::max(config.num_layers, split.pipeline_parallel);
  config.num_heads *= split.tensor_parallel;
  config.num_kv_heads *= split.tensor_parallel;
  config.intermediate_size *= split.tensor_parallel;
  if (config.architecture != Architecture::llama) config.hidden_size *= split.tensor_parallel;
  return config;
}

// One sequence, call by call.
Plan in_a_row(const std::string& name, const ModelConfig& config, const std::vector<Index>& lengths, Index page_size,
              std::uint64_t seed) {
  Index total = 0;
  for (const Index length : lengths) total += length;
  Story story;
  story.name = name;
  story.limits = {.max_batch_size = 1,
                  .max_total_seq_len = total + 2 * page_size,
                  .prefill_chunk_size = *std::ranges::max_element(lengths),
                  .page_size = page_size};
  Tokens tokens(config.vocab_size, seed);
  for (const Index length : lengths) {
    Call call;
    call.method = length == 1 ? Method::decode : Method::prefill;
    if (length == *std::ranges::max_element(lengths)) call.method = Method::batch_verify;
    call.label = fmt::format("{}/{} {}", name, story.calls.size(), backends::name(call.method));
    if (story.calls.empty()) call.before.push_back({CacheOperation::Kind::add, 0, 0, 0, 0});
    call.ids = {0};
    call.lengths = {length};
    call.tokens = tokens.take(length);
    story.calls.push_back(std::move(call));
  }
  return {story};
}

void add_exact(const ModelConfig& config, const Split& split, std::uint64_t seed, std::vector<VerifyCase>& out) {
  const std::vector<ExactSizes> sizes = exact_sizes();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const std::string name = fmt::format("exact-{}", i + 1);
    const ModelConfig own = to_be_split(exact_config(config, sizes[i]), split);
    out.push_back({name, Inputs::exact, own, in_a_row(name, own, sizes[i].calls, 16 >> i, seed)});
  }
}

// Small models with borders that a prompt of 40 passes.
std::vector<ModelConfig> scaled_configs(const ModelConfig& config) {
  constexpr Index kOriginal = 16;
  const ModelConfig small = preset_config(small_preset(config.architecture));
  if (small.rope.kind == RopeKind::none) return {};
  const auto half = static_cast<std::size_t>(small.rope.rotary_dim / 2);
  std::vector<RopeKind> kinds = {RopeKind::linear, RopeKind::dynamic};
  if (config.architecture != Architecture::orion) {
    kinds.insert(kinds.end(), {RopeKind::llama3, RopeKind::yarn, RopeKind::longrope});
  }
  std::vector<ModelConfig> out;
  for (const RopeKind kind : kinds) {
    ModelConfig own = small;
    own.num_layers = 1;
    own.rope = {.kind = kind,
                .theta = small.rope.theta,
                .rotary_dim = small.rope.rotary_dim,
                .max_positions = kind == RopeKind::dynamic ? kOriginal : 4 * kOriginal,
                .original_max_positions = kOriginal,
                .factor = 4.0};
    if (kind == RopeKind::linear || kind == RopeKind::dynamic) own.rope.original_max_positions = 0;
    if (kind == RopeKind::longrope) {
      for (std::size_t i = 0; i < half; ++i) {
        own.rope.short_factor.push_back(1.0 + 0.05 * static_cast<double>(i));
        own.rope.long_factor.push_back(2.0 + 0.25 * static_cast<double>(i));
      }
    }
    out.push_back(std::move(own));
  }
  return out;
}

void add_adversarial(const ModelConfig& config, const Split& split, std::uint64_t seed, std::vector<VerifyCase>& out) {
  const Plan everyday = make_plan(config, Extent::quick, seed);
  const auto batch = std::ranges::find(everyday, "batch", &Story::name);
  Story story = *batch;
  story.name = "adversarial";
  for (Call& call : story.calls) call.label = "adversarial-" + call.label;
  out.push_back({"adversarial", Inputs::adversarial, std::nullopt, {story}});
  for (const ModelConfig& scaled : scaled_configs(config)) {
    const ModelConfig own = to_be_split(scaled, split);
    const std::string name = fmt::format("scaled-{}", mlbench::name(own.rope.kind));
    out.push_back({name, Inputs::adversarial, own, in_a_row(name, own, {14, 5, 20, 1}, 16, seed)});
  }
}

template <class Narrow>
std::vector<VerifyCase> narrowed(std::vector<VerifyCase> cases, const Narrow& narrow) {
  std::vector<VerifyCase> out;
  std::optional<Error> first;
  for (VerifyCase& one : cases) {
    try {
      one.plan = narrow(one.plan);
      out.push_back(std::move(one));
    } catch (const Error& error) {
      if (!first) first = error;
    }
  }
  if (out.empty() && first) {  // in words that are about all of them
    Plan all;
    for (const VerifyCase& one : cases) all.insert(all.end(), one.plan.begin(), one.plan.end());
    (void)narrow(all);
    throw *first;
  }
  return out;
}

}  // namespace

std::vector<VerifyCase> make_cases(const ModelConfig& config, const Plan& plan, std::span<const Inputs> inputs,
                                   std::uint64_t seed, const Split& split) {
  std::vector<VerifyCase> out;
  const auto wanted = [&](Inputs which) { return std::ranges::find(inputs, which) != inputs.end(); };
  if (wanted(Inputs::random)) out.push_back({"", Inputs::random, std::nullopt, plan});
  if (wanted(Inputs::exact)) add_exact(config, split, seed, out);
  if (wanted(Inputs::adversarial)) add_adversarial(config, split, seed, out);
  return out;
}

std::vector<VerifyCase> with_methods(std::vector<VerifyCase> cases, std::span<const Method> methods) {
  return narrowed(std::move(cases), [&](const Plan& plan) { return with_methods(plan, methods); });
}

std::vector<VerifyCase> up_to_call(std::vector<VerifyCase> cases, const std::string& label) {
  return narrowed(std::move(cases), [&](const Plan& plan) { return up_to_call(plan, label); });
}

}  // namespace mlbench::harness
