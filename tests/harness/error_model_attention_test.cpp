// The bounds of rotation and attention against float32, in several orders of summation and both usual forms of softmax.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include <gmock/gmock.h>

#include "reference/forward_pass.h"
#include "tests/harness/bounds_of.h"
#include "tests/harness/float_operators.h"

namespace mlbench::harness {
namespace {

using backends::Arithmetic;
using ref::Tensor;
using test::BoundsOf;
using test::Floats;
using test::Order;
using test::Within;

class AttentionBounds : public ::testing::TestWithParam<test::NamedArithmetic> {};
INSTANTIATE_TEST_SUITE_P(Arithmetics, AttentionBounds, ::testing::ValuesIn(test::arithmetics()),
                         [](const auto& which) { return which.param.name; });

// Queries [H, T, d] of the last T rows, and the keys and values of all rows [Hkv, n, d].
struct Inputs {
  const char* label;
  Tensor q, k, v;
};

// How the softmax is computed: probabilities first, or weights that are divided by their sum in the end, the largest
// score being found on the way; the latter by powers of two as well, for which GPUs have an instruction.
enum class Form { whole, online, powers_of_two };

class Problem {
 public:
  // `rows` rows, the last `tree.size()` of them nodes of a token tree.
  Problem(const Arithmetic& arithmetic, Index rows, const std::vector<Index>& tree = {})
      : bounds_(test::one_layer(Architecture::llama), arithmetic),
        c_(bounds_.model().config),
        cache_({1, c_.num_kv_heads, c_.head_dim, RopeMode::normal}, {1, rows + 32, rows + 32, 16}),
        rows_(rows) {
    const auto nodes = static_cast<Index>(tree.size());
    cache_.add_sequence(0);
    announce(rows - (tree.empty() ? kJudged : nodes), std::nullopt);
    cache_.end_forward();
    announce(tree.empty() ? kJudged : nodes, tree.empty() ? std::nullopt : std::optional(tree));
  }

  static constexpr Index kJudged = 4;

  [[nodiscard]] Index judged() const { return static_cast<Index>(cache_.plan().rows.size()); }
  [[nodiscard]] BoundsOf& bounds() { return bounds_; }

  // Standard normal queries and keys.
  [[nodiscard]] Inputs inputs(const char* label, double query_scale, double value_scale, std::uint64_t seed) const {
    const Arithmetic& a = bounds_.arithmetic();
    const Shape entries = {c_.num_kv_heads, rows_, c_.head_dim};
    return {label, test::normal_values({c_.num_heads, judged(), c_.head_dim}, a.activations, seed, query_scale),
            test::normal_values(entries, a.kv_cache, seed + 1),
            test::normal_values(entries, a.kv_cache, seed + 2, value_scale)};
  }

  void store(const Inputs& in) {
    const auto& slots = cache_.plan().sequences[0].slots;
    for (Index e = 0; e < rows_; ++e) {
      for (Index h = 0; h < c_.num_kv_heads; ++h) {
        cache_.store(0, slots[static_cast<std::size_t>(e)], h, in.k.row(h * rows_ + e), in.v.row(h * rows_ + e));
      }
    }
  }

  struct Result {
    Tensor probs, context;
  };

  [[nodiscard]] Result exact(const Tensor& q) {
    const ref::Ops ops(bounds_.workers());
    const ref::ForwardPass pass(cache_, nullptr, ops);
    Tensor by_row({judged(), c_.num_heads, c_.head_dim});
    for (Index h = 0; h < c_.num_heads; ++h) {
      for (Index t = 0; t < judged(); ++t) {
        std::ranges::copy(q.row(h * judged() + t), by_row.row(t * c_.num_heads + h).begin());
      }
    }
    Probs sink;
    Result out;
    out.context = pass.attention(0, by_row, alpha(), ref::Taps(&sink, 0));
    out.probs = std::move(sink.probs);
    return out;
  }

  [[nodiscard]] Result bound(const Known& q, const Result& exact) const {
    const AttentionInputs attention{&cache_, 0, judged()};
    const KnownTaps known = {{Tap::q, q}};
    return {bounds_.of({Tap::probs, 0}, exact.probs, known, attention),
            bounds_.of({Tap::context, 0}, exact.context, known, attention)};
  }

  [[nodiscard]] Result in_float(const Inputs& in, const Result& shapes, Order order, Form form) const {
    const Arithmetic& a = bounds_.arithmetic();
    Result out{Tensor(shapes.probs.shape()), Tensor(shapes.context.shape())};
    const Tensor q = test::narrowed(a.attention_inputs, in.q);
    for (Index h = 0; h < c_.num_heads; ++h) {
      for (Index t = 0; t < judged(); ++t) {
        const std::vector<Index> entries = visible(t);
        const Index kv = h / (c_.num_heads / c_.num_kv_heads);
        const Floats scores = scores_of(in, q.row(h * judged() + t), entries, kv, order);
        Floats weights;
        const float total = form == Form::whole ? whole(scores, order, weights) : online(scores, weights, form);
        const auto probs = out.probs.row(h * judged() + t);
        for (std::size_t j = 0; j < entries.size(); ++j) {
          probs[static_cast<std::size_t>(entries[j])] = static_cast<double>(weights[j] / total);
        }
        const Floats context = weighted(in, weights, total, entries, kv, order);
        std::ranges::copy(context, out.context.row(t).begin() + h * c_.head_dim);
      }
    }
    return {test::narrowed(a.activations, out.probs), test::narrowed(a.activations, out.context)};
  }

 private:
  struct Probs final : ref::TapSink {
    [[nodiscard]] bool wants(TapId id) const override { return id.tap == Tap::probs; }
    void take(TapId, const Tensor& value) override { probs = value; }
    Tensor probs;
  };

  [[nodiscard]] double alpha() const { return 1.0 / std::sqrt(static_cast<double>(c_.head_dim)); }

  void announce(Index length, const std::optional<std::vector<Index>>& tree) {
    const SeqId ids[] = {0};
    const Index lengths[] = {length};
    cache_.begin_forward(ids, lengths, tree);
  }

  [[nodiscard]] std::vector<Index> visible(Index t) const {
    const auto& row = cache_.plan().rows[static_cast<std::size_t>(t)];
    std::vector<Index> out(static_cast<std::size_t>(row.prefix));
    std::iota(out.begin(), out.end(), 0);
    out.insert(out.end(), row.path.begin(), row.path.end());
    return out;
  }

  // Scaled after the product, or, with fused products, the query before it.
  [[nodiscard]] Floats scores_of(const Inputs& in, std::span<const double> query, const std::vector<Index>& entries,
                                 Index kv, Order order) const {
    const auto scale = static_cast<float>(alpha());
    Floats q = test::floats(query), out;
    if (order == Order::fused) {
      for (float& value : q) value *= scale;
    }
    for (const Index e : entries) {
      const float score = test::dot(order, q, test::floats(in.k.row(kv * rows_ + e)));
      out.push_back(order == Order::fused ? score : score * scale);
    }
    return out;
  }

  // Probabilities; their sum is then 1.
  static float whole(const Floats& scores, Order order, Floats& weights) {
    const float largest = *std::ranges::max_element(scores);
    for (const float score : scores) weights.push_back(std::exp(score - largest));
    const float total = test::sum(order, weights);
    for (float& weight : weights) weight /= total;
    return 1.0F;
  }

  // In blocks of eight; what was summed before is scaled down where a block has a larger score.
  static float online(const Floats& scores, Floats& weights, Form form) {
    const auto power = [&](float x) { return form == Form::online ? std::exp(x) : std::exp2(x * 1.44269504F); };
    constexpr std::size_t kBlock = 8;
    float largest = -std::numeric_limits<float>::infinity(), total = 0.0F;
    for (std::size_t first = 0; first < scores.size(); first += kBlock) {
      const auto block = std::span(scores).subspan(first, std::min(kBlock, scores.size() - first));
      const float before = largest;
      largest = std::max(largest, *std::ranges::max_element(block));
      const float factor = power(before - largest);
      total *= factor;
      for (float& weight : weights) weight *= factor;
      for (const float score : block) total += weights.emplace_back(power(score - largest));
    }
    return total;
  }

  [[nodiscard]] Floats weighted(const Inputs& in, const Floats& weights, float total, const std::vector<Index>& entries,
                                Index kv, Order order) const {
    const DType type = bounds_.arithmetic().attention_inputs;
    Tensor narrow({static_cast<Index>(weights.size())});
    std::ranges::copy(weights, narrow.values().begin());
    const Floats p = test::floats(test::narrowed(type, narrow).values());
    Floats out, column(weights.size());
    for (std::size_t i = 0; i < static_cast<std::size_t>(c_.head_dim); ++i) {
      for (std::size_t j = 0; j < entries.size(); ++j)
        column[j] = static_cast<float>(in.v.row(kv * rows_ + entries[j])[i]);
      out.push_back(test::dot(order, p, column) / total);
    }
    return out;
  }

  BoundsOf bounds_;
  ModelConfig c_;
  ref::PagedKvCache cache_;
  Index rows_;
};

// Every head's first key made one that all of its queries agree with: it takes nearly all weight, by `score`.
void add_sink(Inputs& in, double score, DType cache, DType activations) {
  const Index d = in.q.cols(), heads = in.q.dim(0), T = in.q.dim(1), kv_heads = in.k.dim(0), n = in.k.dim(1);
  for (Index h = 0; h < kv_heads; ++h) {
    for (Index e = 0; e < n; ++e) in.k.row(h * n + e)[0] = e == 0 ? score : 0.0;
  }
  for (Index r = 0; r < heads * T; ++r) in.q.row(r)[0] = std::sqrt(static_cast<double>(d));
  in.k = test::narrowed(cache, in.k);
  in.q = test::narrowed(activations, in.q);
}

std::vector<Inputs> nasty(const Problem& problem, const Arithmetic& a) {
  std::vector<Inputs> out;
  out.push_back(problem.inputs("ordinary", 1.4, 1.0, 10));
  out.push_back(problem.inputs("large scores", 30.0, 1.0, 20));
  out.push_back(problem.inputs("huge scores", 300.0, 1.0, 30));
  out.push_back(problem.inputs("tiny queries", 1e-5, 1.0, 40));
  out.push_back(problem.inputs("equal scores", 0.0, 1.0, 50));
  out.push_back(problem.inputs("large values", 1.4, 500.0, 60));
  out.push_back(problem.inputs("a sink", 1.0, 1.0, 70));
  add_sink(out.back(), 20.0, a.kv_cache, a.activations);
  out.push_back(problem.inputs("cancelling values", 0.0, 1.0, 80));
  Tensor& v = out.back().v;
  for (Index r = 0; r < v.rows(); ++r) {
    for (std::size_t i = 0; i < v.row(r).size(); ++i) v.row(r)[i] = r % 2 == 0 ? 100.0 : -100.0;
  }
  return out;
}

void expect_within(Problem& problem, const Inputs& in, const std::vector<Form>& forms = {Form::whole, Form::online}) {
  problem.store(in);
  const Problem::Result exact = problem.exact(in.q), bound = problem.bound({in.q, {}}, exact);
  for (const Form form : forms) {
    for (const Order order : test::kOrders) {
      const Problem::Result got = problem.in_float(in, exact, order, form);
      Within probs, context;
      probs.add(exact.probs, got.probs, bound.probs);
      context.add(exact.context, got.context, bound.context);
      const std::string where = std::string(in.label) + (form == Form::whole ? " whole " : " online ");
      EXPECT_EQ(probs.beyond(), 0) << "probs " << where << name(order) << " worst " << probs.worst();
      EXPECT_EQ(context.beyond(), 0) << "context " << where << name(order) << " worst " << context.worst();
      if (in.label == std::string("ordinary") && problem.bounds().arithmetic().activations == DType::bf16) {
        EXPECT_GT(probs.median(), 0.05);  // error_model_products_test.cpp: kLeastMedian
        EXPECT_GT(context.median(), 0.02) << "queries, probabilities and the result are each rounded to bf16";
      }
    }
  }
}

TEST_P(AttentionBounds, HoldInAnyOrder) {
  Problem problem(GetParam().arithmetic, 40);
  for (const Inputs& in : nasty(problem, GetParam().arithmetic)) expect_within(problem, in);
}

TEST_P(AttentionBounds, HoldWithPowersOfTwo) {
  Problem problem(GetParam().arithmetic, 40);
  for (const Inputs& in : nasty(problem, GetParam().arithmetic)) expect_within(problem, in, {Form::powers_of_two});
}

TEST_P(AttentionBounds, HoldInATokenTree) {
  Problem problem(GetParam().arithmetic, 24, {-1, 0, 0, 1, -1, 3});
  expect_within(problem, problem.inputs("tree", 1.4, 1.0, 1));
}

// One value is there to be seen, and the weights of all others are below what f16 holds in full.
TEST_P(AttentionBounds, HoldWhereProbabilitiesUnderflow) {
  const Arithmetic& a = GetParam().arithmetic;
  Problem problem(a, 40);
  Inputs in = problem.inputs("underflow", 0.5, 100.0, 1);
  add_sink(in, 16.0, a.kv_cache, a.activations);
  for (Index h = 0; h < in.v.dim(0); ++h) std::ranges::fill(in.v.row(h * in.v.dim(1)), 0.0);  // the sink's own
  expect_within(problem, in);
}

TEST(ErrorModel, AttentionGivesNothingToWhatIsNotVisible) {
  Problem problem(test::arithmetics()[1].arithmetic, 24, {-1, 0, 0, 1, -1, 3});
  const Inputs in = problem.inputs("", 1.4, 1.0, 1);
  problem.store(in);
  const Problem::Result exact = problem.exact(in.q), bound = problem.bound({in.q, {}}, exact);
  Index hidden = 0;
  for (std::size_t i = 0; i < exact.probs.values().size(); ++i) {
    EXPECT_EQ(exact.probs.values()[i] == 0.0, bound.probs.values()[i] == 0.0) << i;
    hidden += exact.probs.values()[i] == 0.0 ? 1 : 0;
  }
  EXPECT_GT(hidden, 0);
}

TEST(ErrorModel, AttentionPassesOnWhatItsQueriesErr) {
  Problem problem(test::arithmetics()[0].arithmetic, 40);
  for (const double relative : {1e-4, 1e-2}) {
    for (const Inputs& in : nasty(problem, problem.bounds().arithmetic())) {
      problem.store(in);
      const Tensor errors = test::errors_of(in.q, relative);
      const Problem::Result exact = problem.exact(in.q), bound = problem.bound({in.q, errors}, exact);
      Within within;
      for (const std::uint64_t seed : {1U, 2U, 3U, 4U}) {
        const Problem::Result other = problem.exact(test::moved(in.q, errors, seed));
        within.add(exact.probs, other.probs, bound.probs);
        within.add(exact.context, other.context, bound.context);
      }
      EXPECT_EQ(within.beyond(), 0) << in.label << " worst " << within.worst();
    }
  }
}

// A sum that one term makes so large that each of the others, all of one sign, rounds away: errors that do not average
// out. Trained models have such sinks.
TEST(ErrorModel, AttentionWithASinkOverALongSequenceIsWithinItsBound) {
  Problem problem(test::arithmetics()[0].arithmetic, 2048);
  Inputs in = problem.inputs("long sink", 0.0, 1.0, 1);
  add_sink(in, 16.7, DType::f32, DType::f32);  // exp(-16.7) is just below half of what 1 can be changed by
  expect_within(problem, in);
}

// ---- rotation ----

// Positions 0 to n - 1 of one sequence.
class Announced {
 public:
  explicit Announced(Index count) : cache_({1, 1, 2, RopeMode::normal}, {1, count + 16, count, 16}) {
    const SeqId ids[] = {0};
    const Index lengths[] = {count};
    cache_.add_sequence(0);
    cache_.begin_forward(ids, lengths);
  }
  [[nodiscard]] AttentionInputs inputs() const { return {&cache_, -1, static_cast<Index>(cache_.plan().rows.size())}; }

 private:
  ref::PagedKvCache cache_;
};

struct Angles {
  Tensor cos, sin;
};

Angles angles(const ref::Rope& rope, Index count) {
  const Index half = rope.rotary_dim() / 2;
  Angles out{Tensor({count, 2 * half}), Tensor({count, 2 * half})};
  const std::vector<double> frequencies = rope.frequencies(count);
  for (Index p = 0; p < count; ++p) {
    const ref::Rope::Angles at = rope.angles(p, frequencies);
    for (const Index first : {Index{0}, half}) {
      std::ranges::copy(at.cos, out.cos.row(p).begin() + first);
      std::ranges::copy(at.sin, out.sin.row(p).begin() + first);
    }
  }
  return out;
}

void expect_rotation_within(const ModelConfig& config, const backends::Arithmetic& arithmetic, const Angles& got,
                            Index count, const std::string& label) {
  BoundsOf bounds(config, arithmetic);
  const Announced rows(count);
  const Angles exact = angles(ref::Rope(config.rope, ref::RopeCompat::f64), count);
  for (const Tap tap : {Tap::rope_cos, Tap::rope_sin}) {
    const Tensor& y = tap == Tap::rope_cos ? exact.cos : exact.sin;
    Within within;
    within.add(y, test::narrowed(DType::f32, tap == Tap::rope_cos ? got.cos : got.sin),
               bounds.of({tap, -1}, y, {}, rows.inputs()));
    EXPECT_EQ(within.beyond(), 0) << label << " " << name(tap) << " worst " << within.worst();
  }
}

std::vector<nlohmann::json> rope_kinds() {
  using nlohmann::json;
  const json factors = std::vector<double>(16, 1.5), longer = std::vector<double>(16, 4.5);
  return {json::object(),
          {{"rope_type", "linear"}, {"factor", 3.0}},
          {{"rope_type", "dynamic"}, {"factor", 2.0}},
          {{"rope_type", "llama3"},
           {"factor", 8.0},
           {"low_freq_factor", 1.0},
           {"high_freq_factor", 4.0},
           {"original_max_position_embeddings", 64}},
          {{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 64}},
          {{"rope_type", "longrope"},
           {"factor", 4.0},
           {"short_factor", factors},
           {"long_factor", longer},
           {"original_max_position_embeddings", 64}}};
}

TEST(ErrorModel, AnglesInFloat32AreWithinTheirBoundForEveryKindOfScaling) {
  backends::Arithmetic arithmetic;
  arithmetic.f32_rope_angles = true;
  for (const nlohmann::json& scaling : rope_kinds()) {
    for (const double theta : {1e4, 5e5}) {
      const ModelConfig config =
          test::one_layer(Architecture::llama, {{"rope_scaling", scaling}, {"rope_theta", theta}});
      const Angles got = angles(ref::Rope(config.rope, ref::RopeCompat::f32), 400);
      expect_rotation_within(config, arithmetic, got, 400, std::string(name(config.rope.kind)));
    }
  }
}

// Llama 3's scaling with every step in float32, as engines write it.
TEST(ErrorModel, LlamaThreesScalingInFloat32IsWithinItsBound) {
  backends::Arithmetic arithmetic;
  arithmetic.f32_rope_angles = true;
  const ModelConfig config = test::one_layer(Architecture::llama);
  const auto theta = static_cast<float>(config.rope.theta), factor = static_cast<float>(config.rope.factor);
  const auto trained = static_cast<float>(config.rope.original_max_positions);
  const auto low = static_cast<float>(config.rope.low_freq_factor),
             high = static_cast<float>(config.rope.high_freq_factor);
  Angles got{Tensor({400, 32}), Tensor({400, 32})};
  for (std::size_t i = 0; i < 16; ++i) {
    const float w = 1.0F / std::pow(theta, static_cast<float>(i) / 16.0F);
    const float length = 6.2831855F / w;
    const float s = (trained / length - low) / (high - low);
    const float scaled = length < trained / high  ? w
                         : length > trained / low ? w / factor
                                                  : (1.0F - s) * w / factor + s * w;
    for (Index p = 0; p < 400; ++p) {
      const float angle = static_cast<float>(p) * scaled;
      for (const std::size_t column : {i, i + 16}) {
        got.cos.row(p)[column] = static_cast<double>(std::cos(angle));
        got.sin.row(p)[column] = static_cast<double>(std::sin(angle));
      }
    }
  }
  expect_rotation_within(config, arithmetic, got, 400, "llama3");
}

TEST(ErrorModel, AnglesInFloat32AreBeyondTheBoundOfExactOnes) {
  const ModelConfig config = test::one_layer(Architecture::orion);
  BoundsOf bounds(config, {});
  const Announced rows(400);
  const Angles exact = angles(ref::Rope(config.rope, ref::RopeCompat::f64), 400);
  const Angles got = angles(ref::Rope(config.rope, ref::RopeCompat::f32), 400);
  Within rounded_once, float_angles;
  const Tensor bound = bounds.of({Tap::rope_sin, -1}, exact.sin, {}, rows.inputs());
  rounded_once.add(exact.sin, test::narrowed(DType::f32, exact.sin), bound);
  float_angles.add(exact.sin, test::narrowed(DType::f32, got.sin), bound);
  EXPECT_EQ(rounded_once.beyond(), 0);
  EXPECT_GT(float_angles.beyond(), 1000);
}

// Heads of projections [T, H d], each row a position.
TEST_P(AttentionBounds, HoldForRotatedQueriesAndKeys) {
  const Arithmetic& a = GetParam().arithmetic;
  for (const Architecture architecture : {Architecture::llama, Architecture::olmo, Architecture::phi}) {
    BoundsOf bounds(test::one_layer(architecture), a);
    const ModelConfig& c = bounds.model().config;
    const Tensor projection = test::nasty_rows(c.kv_width(), a.activations, 1);
    const Index T = projection.rows(), d = c.head_dim;
    const Angles at = angles(ref::Rope(c.rope, ref::RopeCompat::f64), T);
    const Tensor cos = test::narrowed(DType::f32, at.cos), sin = test::narrowed(DType::f32, at.sin);
    Tensor exact({c.num_kv_heads, T, d}), got({c.num_kv_heads, T, d});
    for (Index h = 0; h < c.num_kv_heads; ++h) {
      for (Index t = 0; t < T; ++t) {
        const auto y = exact.row(h * T + t), z = got.row(h * T + t);
        for (std::size_t i = 0; i < y.size(); ++i) {
          y[i] = projection.row(t)[static_cast<std::size_t>(h * d) + i];
          if (c.clip_qkv) y[i] = std::clamp(y[i], -*c.clip_qkv, *c.clip_qkv);
        }
        const Floats x = test::floats(y), fc = test::floats(cos.row(t)), fs = test::floats(sin.row(t));
        ref::rotate(y.data(), cos.row(t).data(), sin.row(t).data(), c.rope.rotary_dim);
        std::ranges::copy(x, z.begin());
        const auto half = static_cast<std::size_t>(c.rope.rotary_dim / 2);
        for (std::size_t i = 0; i < half; ++i) {
          z[i] = static_cast<double>(x[i] * fc[i] - x[i + half] * fs[i]);
          z[i + half] = static_cast<double>(std::fma(x[i + half], fc[i], x[i] * fs[i]));
        }
      }
    }
    const KnownTaps known = {{Tap::k_proj, {projection, {}}}, {Tap::rope_cos, {cos, {}}}, {Tap::rope_sin, {sin, {}}}};
    Within within;
    within.add(exact, test::narrowed(a.kv_cache, got), bounds.of({Tap::k, 0}, exact, known));
    EXPECT_EQ(within.beyond(), 0) << name(architecture) << " worst " << within.worst();
    if (a.activations == DType::bf16) {
      EXPECT_GT(within.median(), 0.05) << name(architecture);
    }
  }
}

}  // namespace
}  // namespace mlbench::harness
