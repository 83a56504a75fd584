#include "models/synthetic.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include <Random123/philox.h>
#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"

namespace mlbench {
namespace {

// Sum of four uniform numbers in 0..65535, moved and scaled to mean 0 and variance 1.
double standard_value(std::uint32_t high, std::uint32_t low) {
  constexpr double kMean = 2.0 * 65535.0;
  // The variance of one of the four is (2^32 - 1) / 12.
  static const double kInverseStd = 1.0 / std::sqrt((4294967296.0 - 1.0) / 3.0);
  const std::uint32_t sum = (high >> 16U) + (high & 0xFFFFU) + (low >> 16U) + (low & 0xFFFFU);
  return (static_cast<double>(sum) - kMean) * kInverseStd;
}

// Root mean square of the activation of a standard normal variable; numerical integration, four digits are plenty.
double activation_rms(Activation activation) {
  switch (activation) {
    case Activation::silu: return 0.5965;
    case Activation::gelu_erf:
    case Activation::gelu_tanh:
    case Activation::gelu_fast: return 0.6521;
    case Activation::relu: return 0.7071;
  }
  return 1.0;
}

constexpr double kScoreGain = 1.2;    // q and k: scores get the standard deviation kScoreGain^2
constexpr double kContextGain = 2.0;  // attention averages values, so its output is small before this
constexpr double kLogitGain = 2.0;
constexpr double kBiasStd = 0.2;
constexpr double kNormStd = 0.2;
constexpr Index kLargeChannelEvery = 8;

enum class Part { query, key, value };

// The part of GPT BigCode's fused projection that row `r` belongs to (specification, section 8).
Part part_of_row(const ModelConfig& c, Index r) {
  if (c.multi_query) return r < c.q_width() ? Part::query : r < c.q_width() + c.head_dim ? Part::key : Part::value;
  const Index within = r % (3 * c.head_dim);
  return within < c.head_dim ? Part::query : within < 2 * c.head_dim ? Part::key : Part::value;
}

double score_gain(const ModelConfig& c) {
  // Without the division by sqrt(d) queries and keys have to be smaller.
  return c.scale_attn_weights ? kScoreGain : kScoreGain / std::pow(static_cast<double>(c.head_dim), 0.25);
}

// Where clip_qkv lies far above the usual size of a value it would never act, and its absence would not show. So a few
// channels are made as large as the limit, and what they meet is made smaller by the same factor: those of queries
// against keys (both members of a RoPE pair alike), those of values against the columns of the output projection.
double clip_scale(const ModelConfig& c, TensorRole role, Index channel) {
  if (!c.clip_qkv || *c.clip_qkv <= 1.0) return 1.0;
  const Index pair = (channel % c.head_dim) % (c.head_dim / 2);
  const bool query_is_large = pair % kLargeChannelEvery == 0;
  const bool key_is_large = pair % kLargeChannelEvery == kLargeChannelEvery / 2;
  const double large = *c.clip_qkv;
  switch (role) {
    case TensorRole::q_proj: return query_is_large ? large : key_is_large ? 1.0 / large : 1.0;
    case TensorRole::k_proj: return key_is_large ? large : query_is_large ? 1.0 / large : 1.0;
    case TensorRole::v_proj: return query_is_large ? large : 1.0;
    case TensorRole::attn_out: return query_is_large ? 1.0 / large : 1.0;  // by column
    default: return 1.0;
  }
}

template <class Scale>
std::vector<double> scales(Index count, Scale scale) {
  std::vector<double> out(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) out[static_cast<std::size_t>(i)] = scale(i);
  return out;
}

double bias_std(const ModelConfig& c, TensorRole role) {
  const bool into_residual = role == TensorRole::attn_out || role == TensorRole::mlp_down;
  return into_residual ? kBiasStd / std::sqrt(2.0 * static_cast<double>(c.num_layers)) : kBiasStd;
}

double weight_std(const ModelConfig& c, const TensorSpec& spec) {
  const double fan_in = spec.shape.size() == 2 ? static_cast<double>(spec.shape[1]) : 1.0;
  const auto width = static_cast<double>(c.hidden_size);
  // 2L additions to the residual stream, each of variance 1 / 2L.
  const double residual = 1.0 / std::sqrt(2.0 * static_cast<double>(c.num_layers));
  switch (spec.role) {
    // Tied, the embedding is the output layer too: a compromise between an input and logits of order one.
    case TensorRole::token_embedding: return c.tie_word_embeddings ? std::pow(width, -0.25) : 1.0;
    case TensorRole::position_embedding: return 0.5 * (c.tie_word_embeddings ? std::pow(width, -0.25) : 1.0);
    case TensorRole::norm: return kNormStd;
    case TensorRole::q_proj:
    case TensorRole::k_proj: return score_gain(c) / std::sqrt(fan_in);
    case TensorRole::v_proj:
    case TensorRole::qkv_proj:
    case TensorRole::mlp_gate:
    case TensorRole::mlp_up: return 1.0 / std::sqrt(fan_in);
    case TensorRole::attn_out: return kContextGain * residual / std::sqrt(fan_in);
    case TensorRole::mlp_down: return residual / (activation_rms(c.activation) * std::sqrt(fan_in));
    case TensorRole::lm_head: return kLogitGain / std::sqrt(fan_in);
  }
  return 1.0;
}

void require_memory(double bytes, const ModelConfig& config, DType dtype) {
  const double memory = static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  if (bytes > 0.95 * memory) {
    throw request_error("memory.exceeded",
                        fmt::format("{} parameters in {} take {:.1f} GiB; this machine has {:.1f} GiB",
                                    parameter_count(config), name(dtype), bytes / 0x1p30, memory / 0x1p30));
  }
}

constexpr Index kChunk = 1 << 16;  // values that one thread makes at a time

struct Chunk {
  const TensorSpec* spec;
  const Spread* spread;
  std::byte* out;
  Index first;
  Index count;
};

}  // namespace

Spread synthetic_spread(const ModelConfig& c, const TensorSpec& spec) {
  Spread spread;
  spread.std = spec.bias ? bias_std(c, spec.role) : weight_std(c, spec);
  if (spec.role == TensorRole::norm && !spec.bias) spread.mean = 1.0;
  // A mean that is not zero tells LayerNorm from RMSNorm.
  if (spec.role == TensorRole::token_embedding) spread.mean = 0.25 * spread.std;
  if (spec.role == TensorRole::attn_out && !spec.bias && c.clip_qkv) {
    spread.col_scale = scales(c.q_width(), [&](Index i) { return clip_scale(c, spec.role, i); });
  }
  const bool qkv =
      spec.role == TensorRole::q_proj || spec.role == TensorRole::k_proj || spec.role == TensorRole::v_proj;
  if (qkv && c.clip_qkv) {
    spread.row_scale = scales(spec.shape[0], [&](Index i) { return clip_scale(c, spec.role, i); });
  }
  if (spec.role == TensorRole::qkv_proj) {
    spread.row_scale =
        scales(spec.shape[0], [&](Index i) { return part_of_row(c, i) == Part::value ? 1.0 : score_gain(c); });
  }
  if (spec.bias) spread.col_scale = std::exchange(spread.row_scale, {});  // a bias is one row
  return spread;
}

void synthetic_values(const TensorSpec& spec, const Spread& spread, std::uint64_t seed, Index first,
                      std::span<double> out) {
  const std::uint64_t hash = fnv1a(spec.name) ^ (seed * 0x9E3779B97F4A7C15U);
  const r123::Philox4x32::key_type key{{static_cast<std::uint32_t>(hash), static_cast<std::uint32_t>(hash >> 32U)}};
  const Index cols = spec.shape.back();
  r123::Philox4x32 philox;
  r123::Philox4x32::ctr_type block{};
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Index element = first + static_cast<Index>(i);
    const auto pair = static_cast<std::uint64_t>(element) / 2;  // one call makes two values
    if (i == 0 || element % 2 == 0) {
      block = philox({{static_cast<std::uint32_t>(pair), static_cast<std::uint32_t>(pair >> 32U), 0, 0}}, key);
    }
    const double z = element % 2 == 0 ? standard_value(block[0], block[1]) : standard_value(block[2], block[3]);
    double value = spread.mean + spread.std * z;
    if (!spread.row_scale.empty()) value *= spread.row_scale[static_cast<std::size_t>(element / cols)];
    if (!spread.col_scale.empty()) value *= spread.col_scale[static_cast<std::size_t>(element % cols)];
    out[i] = value;
  }
}

Model make_synthetic(const ModelConfig& config, DType dtype, std::uint64_t seed, Workers& workers) {
  require_memory(static_cast<double>(parameter_count(config)) * static_cast<double>(size_bytes(dtype)), config, dtype);
  std::vector<TensorSpec> specs = global_tensors(config);
  for (Index layer = 0; layer < config.num_layers; ++layer) {
    for (TensorSpec& spec : layer_tensors(config, layer)) specs.push_back(std::move(spec));
  }
  auto weights = std::make_shared<Weights>();
  std::vector<Spread> spreads;
  spreads.reserve(specs.size());  // chunks point into it
  std::vector<Chunk> chunks;
  for (const TensorSpec& spec : specs) {
    const Index count = element_count(spec.shape);
    const std::shared_ptr<std::byte[]> bytes(new std::byte[static_cast<std::size_t>(count) * size_bytes(dtype)]);
    weights->keep(bytes);
    weights->put(spec.name,
                 {.dtype = dtype, .rows = count / spec.shape.back(), .cols = spec.shape.back(), .data = bytes.get()});
    spreads.push_back(synthetic_spread(config, spec));
    for (Index first = 0; first < count; first += kChunk) {
      chunks.push_back({&spec, &spreads.back(), bytes.get(), first, std::min(kChunk, count - first)});
    }
  }
  workers.each(static_cast<Index>(chunks.size()), [&](Index i) {
    const Chunk& chunk = chunks[static_cast<std::size_t>(i)];
    std::vector<double> values(static_cast<std::size_t>(chunk.count));
    synthetic_values(*chunk.spec, *chunk.spread, seed, chunk.first, values);
    narrow(dtype, values, chunk.out + static_cast<std::size_t>(chunk.first) * size_bytes(dtype));
  });
  if (config.tie_word_embeddings) weights->put(kLmHeadName, weights->get(embedding_name(config)));

  Model model;
  model.config = config;
  model.config.dtype = long_name(dtype);
  model.weights = std::move(weights);
  model.origin = fmt::format("synthetic {} weights, seed {}", name(dtype), seed);
  model.warnings = config.warnings;
  return model;
}

}  // namespace mlbench
