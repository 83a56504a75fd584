#include "tests/backends/cpu/side_by_side.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "backends/cpu/cpu_backend.h"
#include "models/rounded.h"

namespace mlbench::cpu::test {
namespace {

// How far a tap may stray from the reference's: depth * (64 * 2^-24 + 8 u) * max|tap|, depth counting the steps that
// feed it: the embedding and the layers up to its own.
//
// float32, of which everything between roundings to u is: per layer four products in a row, two norms, a softmax and an
// activation. A sum of K <= 800 roundings in random order strays by sqrt(K) 2^-24 of its terms' size, up to twice that
// of the tap's largest value: 2 * 28. A softmax multiplies the relative errors of queries and keys by the size of the
// scores, here up to 8 (standard deviation 1.4), but sums over the head only: 2 * 8 * sqrt(64) / 2 at most, not on top
// of the longest sums. 64 for either.
//
// u, the largest unit roundoff that the session declares before the tap: what enters four products, keys and values are
// rounded to it, six roundings per layer. Errors of inputs are independent, so that a sum's relative error stays near u
// whatever its length; two more stand for the softmax, whose scores multiply those of queries and keys by up to 8, but
// in few heads and averaged over d values. 8.
constexpr double kArithmetic = 64.0 * 0x1p-24;
constexpr double kRoundings = 8.0;

using Recorded = std::map<std::string, std::pair<TapId, Tensor<double>>>;

class Recorder final : public backends::TapSink {
 public:
  [[nodiscard]] bool wants(TapId) const override { return true; }
  void take(TapId id, const ConstTensorView& value) override {
    EXPECT_TRUE(taps.emplace(to_string(id), std::pair(id, widened(value))).second) << to_string(id) << " came twice";
    types[to_string(id)] = value.dtype;
  }
  Recorded taps;
  std::map<std::string, DType> types;
};

class ReferenceRecorder final : public ref::TapSink {
 public:
  [[nodiscard]] bool wants(TapId) const override { return true; }
  void take(TapId id, const Tensor<double>& value) override { taps[to_string(id)] = {id, value}; }
  Recorded taps;
};

Model rounded(const Model& model, DType dtype) {
  Workers workers(1);
  return rounded_to(model, dtype, workers);
}

Tensor<double> run_reference(const ref::Reference& reference, const Call& call, const Tensor<double>& x,
                             ref::PagedKvCache& cache, ref::TapSink* taps) {
  switch (call.method) {
    case Method::prefill: return reference.prefill(x, cache, taps);
    case Method::decode: return reference.decode(x, cache, taps);
    case Method::batch_prefill: return reference.batch_prefill(x, call.logit_positions, cache, taps);
    case Method::batch_decode: return reference.batch_decode(x, cache, taps);
    case Method::batch_verify: return reference.batch_verify(x, cache, taps);
    case Method::prefill_to_last_hidden_states: return reference.prefill_to_last_hidden_states(x, cache, taps);
    case Method::decode_to_last_hidden_states: return reference.decode_to_last_hidden_states(x, cache, taps);
    case Method::batch_prefill_to_last_hidden_states:
      return reference.batch_prefill_to_last_hidden_states(x, cache, taps);
    case Method::batch_decode_to_last_hidden_states:
      return reference.batch_decode_to_last_hidden_states(x, cache, taps);
    case Method::batch_verify_to_last_hidden_states:
      return reference.batch_verify_to_last_hidden_states(x, cache, taps);
  }
  return {};
}

bool in_decode_shape(Method method) {
  return method == Method::batch_decode || method == Method::batch_decode_to_last_hidden_states;
}

}  // namespace

double unit_roundoff(DType type) {
  switch (type) {
    case DType::f64: return 0x1p-53;
    case DType::f32: return 0x1p-24;
    case DType::bf16: return 0x1p-8;
    case DType::f16: return 0x1p-11;
  }
  return 0.0;
}

std::unique_ptr<backends::Session> load(const Model& model, DType dtype, int threads) {
  return make_cpu_backend()->load(model, {.dtype = dtype, .threads = threads});
}

HostTensor embedded(backends::Session& session, const Call& call, Index hidden_size) {
  const auto rows = static_cast<Index>(call.tokens.size());
  HostTensor x(DType::f32, {rows, hidden_size});
  session.embed(call.tokens, x.view());
  return std::move(x).reshaped(in_decode_shape(call.method) ? Shape{rows, 1, hidden_size}
                                                            : Shape{1, rows, hidden_size});
}

HostTensor room_for_result(const Call& call, const Shape& x, const ModelConfig& config) {
  Shape shape = x;
  if (!backends::returns_hidden(call.method)) {
    shape[2] = config.vocab_size;
    if (call.method == Method::prefill) shape[1] = 1;
    if (call.method == Method::batch_prefill) shape[1] = static_cast<Index>(call.logit_positions.size());
  }
  HostTensor out(DType::f32, shape);
  std::ranges::fill(out.bytes(), std::byte{0xFF});  // NaN
  return out;
}

HostTensor run_alone(backends::Session& session, backends::KvCache& cache, const ModelConfig& config, const Call& call,
                     backends::TapSink* taps) {
  const HostTensor x = embedded(session, call, config.hidden_size);
  HostTensor out = room_for_result(call, x.shape(), config);
  cache.begin_forward(call.ids, call.lengths, call.parents);
  session.forward(call.method, x.view(), call.logit_positions, cache, out.view(), taps);
  cache.end_forward();
  return out;
}

SideBySide::SideBySide(const Model& model, DType dtype, const KvLimits& limits, int threads)
    : model_(model),
      rounded_(rounded(model, dtype)),
      workers_(1),
      reference_(rounded_, workers_),
      reference_cache_(reference_.create_paged_kv_cache(limits)),
      session_(load(model_, dtype, threads)),
      cache_(session_->create_paged_kv_cache(limits)) {}

// Layer 0 has met the cache's rounding with its keys, and the products' with its queries.
double SideBySide::unit_of(TapId id) const {
  const backends::Arithmetic a = session_->arithmetic();
  const bool before_products = id.layer == 0 ? id.tap == Tap::attn_norm : id.tap < Tap::attn_norm;
  if (before_products) return unit_roundoff(DType::f32);
  if (id.layer == 0 && id.tap < Tap::k) return unit_roundoff(a.product_inputs);
  return std::max(unit_roundoff(a.product_inputs), unit_roundoff(a.kv_cache));
}

void SideBySide::compare(const std::string& what, double unit, double depth, const Tensor<double>& expected,
                         const Tensor<double>& got) const {
  ASSERT_EQ(got.shape(), expected.shape()) << what;
  double largest = 0.0;
  for (const double value : expected.values()) largest = std::max(largest, std::abs(value));
  const double limit = depth * (kArithmetic + kRoundings * unit) * largest;
  double worst = 0.0;
  for (std::size_t i = 0; i < got.values().size(); ++i) {
    const double error = std::abs(got.values()[i] - expected.values()[i]);
    if (!(error <= worst)) worst = error;  // a NaN is the worst, and stays it
  }
  EXPECT_LE(worst, limit) << what;
}

void SideBySide::run(const Call& call) {
  const ModelConfig& config = reference_.config();
  Recorder taps;
  ReferenceRecorder expected;
  const HostTensor got = run_alone(*session_, *cache_, config, call, &taps);

  const Tensor<double> x = reference_.embed(call.tokens);
  EXPECT_EQ(embedded(*session_, call, config.hidden_size).widened().reshaped(x.shape()), x);  // no arithmetic
  const Shape shape = embedded(*session_, call, config.hidden_size).shape();
  reference_cache_.begin_forward(call.ids, call.lengths, call.parents);
  const Tensor<double> result = run_reference(reference_, call, x.reshaped(shape), reference_cache_, &expected);
  reference_cache_.end_forward();

  EXPECT_EQ(taps.taps.size(), expected.taps.size());
  for (const auto& [name, entry] : expected.taps) {
    const auto& [id, value] = entry;
    const auto found = taps.taps.find(name);
    if (found == taps.taps.end()) {
      ADD_FAILURE() << name << " was not given";
      continue;
    }
    const bool stored = id.tap == Tap::k || id.tap == Tap::v;
    const backends::Arithmetic arithmetic = session_->arithmetic();
    EXPECT_EQ(taps.types[name], stored ? arithmetic.kv_cache : arithmetic.activations) << name;
    const Index depth = id.layer >= 0 ? id.layer + 2 : id.tap >= Tap::final_norm ? config.num_layers + 2 : 1;
    compare(name, unit_of(id), static_cast<double>(depth), value, found->second.second);
  }
  compare(std::string(backends::name(call.method)), unit_of({Tap::logits, -1}),
          static_cast<double>(config.num_layers + 2), result, got.widened());
}

void SideBySide::compare_entries(SeqId id) {
  const ModelConfig& config = reference_.config();
  const Index length = cache_->sequence_length(id);
  ASSERT_EQ(length, reference_cache_.sequence_length(id));
  const Shape shape = {config.num_layers, length, config.num_kv_heads, config.head_dim};
  HostTensor keys(session_->arithmetic().kv_cache, shape);
  HostTensor values(session_->arithmetic().kv_cache, shape);
  cache_->debug_get_kv(id, 0, length, keys.view(), values.view());
  const auto expected = reference_cache_.debug_get_kv(id, 0, length);
  const double unit = unit_of({Tap::k, 0});
  compare("cached keys", unit, static_cast<double>(config.num_layers + 2), expected.keys, keys.widened());
  compare("cached values", unit, static_cast<double>(config.num_layers + 2), expected.values, values.widened());
}

}  // namespace mlbench::cpu::test
