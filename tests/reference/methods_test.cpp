// The identities of the inference methods (specification methods.md, section 3): bit for bit in the reference.
#include <cmath>

#include <gmock/gmock.h>

#include "tests/reference/small_models.h"
#include "tests/support/expect_error.h"

namespace mlbench::ref {
namespace {

using test::Driver;
using test::Ids;
using test::joined;
using test::rows_of;
using test::slice;
using test::small_model;
using test::some_tokens;

Tensor as_matrix(const Tensor& x) { return x.reshaped({x.rows(), x.cols()}); }

class Methods : public ::testing::TestWithParam<Architecture> {
 protected:
  Methods() : driver_(small_model(GetParam()), 2), tokens_(some_tokens(37)) {}

  // A fresh cache whose sequence 0 has `tokens` announced.
  PagedKvCache announced(Index rows) {
    PagedKvCache cache = driver_.make_cache();
    cache.add_sequence(0);
    const SeqId id[] = {0};
    const Index length[] = {rows};
    cache.begin_forward(id, length);
    return cache;
  }
  [[nodiscard]] const Reference& reference() const { return driver_.reference(); }
  [[nodiscard]] Index count() const { return static_cast<Index>(tokens_.size()); }

  Driver driver_;
  Ids tokens_;
};

TEST_P(Methods, PrefillIsTheLogitsOfTheLastHiddenRow) {
  const Tensor x = driver_.embedded(tokens_);
  PagedKvCache a = announced(count()), b = announced(count());
  const Tensor logits = reference().prefill(x, a);
  const Tensor hidden = reference().prefill_to_last_hidden_states(x, b);
  EXPECT_EQ(logits.shape(), (Shape{1, 1, reference().config().vocab_size}));
  EXPECT_EQ(hidden.shape(), x.shape());
  EXPECT_EQ(as_matrix(logits), reference().get_logits(rows_of(hidden, count() - 1, 1)));
}

TEST_P(Methods, BatchPrefillGathersHiddenRowsBeforeTheOutputLayer) {
  const Tensor x = driver_.embedded(tokens_);
  const std::int32_t positions[] = {36, 0, 5, 5};  // any order, repeats
  PagedKvCache a = announced(count()), b = announced(count());
  const Tensor logits = reference().batch_prefill(x, positions, a);
  const Tensor hidden = as_matrix(reference().batch_prefill_to_last_hidden_states(x, b));
  EXPECT_EQ(logits.shape(), (Shape{1, 4, reference().config().vocab_size}));
  EXPECT_EQ(as_matrix(logits), reference().get_logits(reference().batch_select_last_hidden_states(hidden, positions)));
}

TEST_P(Methods, BatchVerifyIsTheLogitsOfEveryHiddenRow) {
  const Tensor x = driver_.embedded(tokens_);
  PagedKvCache a = announced(count()), b = announced(count());
  const Tensor logits = reference().batch_verify(x, a);
  const Tensor hidden = as_matrix(reference().batch_verify_to_last_hidden_states(x, b));
  EXPECT_EQ(logits.shape(), (Shape{1, count(), reference().config().vocab_size}));
  EXPECT_EQ(as_matrix(logits), reference().get_logits(hidden));
}

TEST_P(Methods, DecodeIsOneRowOfTheSame) {
  const Tensor x = driver_.embedded(slice(tokens_, 0, 1));
  PagedKvCache a = announced(1), b = announced(1), c = announced(1), d = announced(1);
  const Tensor logits = reference().decode(x, a);
  EXPECT_EQ(logits.shape(), (Shape{1, 1, reference().config().vocab_size}));
  EXPECT_EQ(logits, reference().batch_decode(x, b));
  EXPECT_EQ(as_matrix(logits), reference().get_logits(as_matrix(reference().decode_to_last_hidden_states(x, c))));
  EXPECT_EQ(as_matrix(logits), reference().get_logits(as_matrix(reference().batch_decode_to_last_hidden_states(x, d))));
}

TEST_P(Methods, DecodeShapeAndPrefillShapeGiveTheSameNumbers) {
  const Tensor x = driver_.embedded(tokens_);
  PagedKvCache a = announced(count()), b = announced(count());
  const Tensor prefill = reference().batch_forward_to_last_hidden_states(x, a);
  const Tensor decode = reference().batch_forward_to_last_hidden_states(x.reshaped({count(), 1, x.cols()}), b);
  EXPECT_EQ(decode.shape(), (Shape{count(), 1, x.cols()}));
  EXPECT_EQ(as_matrix(prefill), as_matrix(decode));
}

TEST_P(Methods, PaddingRowsChangeNothingAndComeBackAsNaN) {
  PagedKvCache a = announced(count()), b = announced(count());
  const Tensor logits = reference().batch_verify(driver_.embedded(tokens_), a);
  const Tensor padded = reference().batch_verify(driver_.embedded(joined(tokens_, some_tokens(5, 9))), b);
  EXPECT_EQ(rows_of(padded, 0, count()), as_matrix(logits));
  EXPECT_TRUE(std::isnan(padded.row(count())[0]));
  PagedKvCache c = announced(count());
  EXPECT_EQ(as_matrix(reference().prefill(driver_.embedded(joined(tokens_, some_tokens(5, 9))), c)),
            rows_of(logits, count() - 1, 1));
}

TEST_P(Methods, ABatchEqualsItsSequencesOneByOneInAnyOrder) {
  const Ids a = some_tokens(14, 2), b = some_tokens(1, 3), c = some_tokens(33, 4);
  PagedKvCache alone = driver_.make_cache();
  const std::vector<const Ids*> prompts{&a, &b, &c};
  std::vector<Tensor> single;
  for (SeqId id = 0; id < 3; ++id) {
    alone.add_sequence(id);
    single.push_back(driver_.forward(alone, id, *prompts[static_cast<std::size_t>(id)]));
  }
  for (const std::vector<SeqId>& order : {std::vector<SeqId>{0, 1, 2}, std::vector<SeqId>{2, 0, 1}}) {
    PagedKvCache together = driver_.make_cache();
    std::vector<Index> lengths;
    Ids tokens;
    for (const SeqId id : order) {
      together.add_sequence(id);
      lengths.push_back(static_cast<Index>(prompts[static_cast<std::size_t>(id)]->size()));
      tokens = joined(tokens, *prompts[static_cast<std::size_t>(id)]);
    }
    const Tensor logits = driver_.forward(together, order, lengths, tokens);
    Index row = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
      EXPECT_EQ(rows_of(logits, row, lengths[i]), single[static_cast<std::size_t>(order[i])]);
      row += lengths[i];
    }
    // Each sequence goes on at its own position.
    const Tensor next = driver_.forward(together, order, {1, 1, 1}, {11, 12, 13});
    PagedKvCache copy = driver_.make_cache();
    copy.add_sequence(5);
    driver_.forward(copy, 5, *prompts[static_cast<std::size_t>(order[1])]);
    EXPECT_EQ(rows_of(next, 1, 1), driver_.forward(copy, 5, {12}));
  }
}

TEST_P(Methods, ChunkedEqualsWholeEqualsTokenByToken) {
  PagedKvCache whole_cache = driver_.make_cache();
  whole_cache.add_sequence(0);
  const Tensor whole = driver_.forward(whole_cache, 0, tokens_);
  const auto whole_kv = whole_cache.debug_get_kv(0, 0, count());
  for (const std::vector<std::size_t>& chunks :
       {std::vector<std::size_t>{16, 16, 5}, std::vector<std::size_t>{1, 35, 1}, std::vector<std::size_t>(37, 1)}) {
    PagedKvCache cache = driver_.make_cache();
    cache.add_sequence(0);
    std::size_t done = 0;
    for (const std::size_t chunk : chunks) {
      const Tensor rows = driver_.forward(cache, 0, slice(tokens_, done, chunk));
      EXPECT_EQ(rows, rows_of(whole, static_cast<Index>(done), static_cast<Index>(chunk)));
      done += chunk;
    }
    const auto kv = cache.debug_get_kv(0, 0, count());
    EXPECT_EQ(kv.keys, whole_kv.keys);
    EXPECT_EQ(kv.values, whole_kv.values);
  }
}

TEST_P(Methods, AChainTreeEqualsNoTree) {
  PagedKvCache plain = driver_.make_cache(), tree = driver_.make_cache();
  for (PagedKvCache* cache : {&plain, &tree}) {
    cache->add_sequence(0);
    driver_.forward(*cache, 0, slice(tokens_, 0, 18));
  }
  const Ids rest = slice(tokens_, 18, 6);
  EXPECT_EQ(driver_.forward(tree, {0}, {6}, rest, std::vector<Index>{-1, 0, 1, 2, 3, 4}),
            driver_.forward(plain, 0, rest));
}

TEST_P(Methods, ThreadsPageSizesAndTapsChangeNoBit) {
  struct Everything final : TapSink {
    [[nodiscard]] bool wants(TapId) const override { return true; }
    void take(TapId, const Tensor&) override { ++count; }
    int count = 0;
  };
  PagedKvCache cache = driver_.make_cache();
  cache.add_sequence(0);
  const Tensor expected = driver_.forward(cache, 0, tokens_);
  const Driver other(small_model(GetParam()), 3);
  for (const Index page_size : {1, 5, 16, 64}) {
    PagedKvCache paged = other.make_cache(page_size);
    paged.add_sequence(0);
    Everything taps;
    EXPECT_EQ(other.forward(paged, {0}, {count()}, tokens_, std::nullopt, &taps), expected);
    EXPECT_GT(taps.count, 20);
  }
}

TEST_P(Methods, FutureTokensChangeNothing) {
  PagedKvCache a = driver_.make_cache(), b = driver_.make_cache();
  Ids changed = tokens_;
  changed[20] = (changed[20] + 1) % 1000;
  a.add_sequence(0);
  b.add_sequence(0);
  const Tensor x = driver_.forward(a, 0, tokens_), y = driver_.forward(b, 0, changed);
  EXPECT_EQ(rows_of(x, 0, 20), rows_of(y, 0, 20));
  EXPECT_NE(rows_of(x, 20, 1), rows_of(y, 20, 1));
  EXPECT_NE(rows_of(x, 36, 1), rows_of(y, 36, 1)) << "a past token must matter";
}

TEST_P(Methods, EveryTapOfTheInventoryIsRecordedOnceInItsShape) {
  struct Recorder final : TapSink {
    [[nodiscard]] bool wants(TapId) const override { return true; }
    void take(TapId id, const Tensor& value) override { taken.emplace_back(to_string(id), value.shape()); }
    std::vector<std::pair<std::string, Shape>> taken;
  } recorder;
  PagedKvCache cache = driver_.make_cache();
  cache.add_sequence(0);
  driver_.forward(cache, 0, slice(tokens_, 0, 3));
  driver_.forward(cache, {0}, {4}, slice(tokens_, 3, 4), std::nullopt, &recorder);
  std::vector<std::pair<std::string, Shape>> expected;
  const auto specs = tap_specs(reference().config());
  const auto add = [&](const TapSpec& spec, Index layer) {
    const Shape shape = spec.layout == TapLayout::rows    ? Shape{4, spec.width}
                        : spec.layout == TapLayout::heads ? Shape{spec.heads, 4, spec.width}
                                                          : Shape{spec.heads, 4, 7};
    expected.emplace_back(to_string(TapId{spec.tap, layer}), shape);
  };
  for (const TapSpec& spec : specs) {
    if (!per_layer(spec.tap)) add(spec, -1);
    for (Index layer = 0; per_layer(spec.tap) && layer < 2; ++layer) add(spec, layer);
  }
  EXPECT_THAT(recorder.taken, ::testing::UnorderedElementsAreArray(expected));
}

TEST_P(Methods, WrongShapesIdsAndPositionsAreRefusedByName) {
  using mlbench::test::code_of;
  const Reference& r = reference();
  const Index h = r.config().hidden_size;
  const std::int32_t negative[] = {-1}, beyond[] = {static_cast<std::int32_t>(r.config().vocab_size)};
  EXPECT_EQ(code_of([&] { (void)r.embed(negative); }), "input.token_range");
  EXPECT_EQ(code_of([&] { (void)r.embed(beyond); }), "input.token_range");
  EXPECT_EQ(code_of([&] { (void)r.get_logits(Tensor({2, h + 1})); }), "input.shape");
  EXPECT_EQ(code_of([&] { (void)r.get_logits(Tensor({1, 2, h})); }), "input.shape");
  const std::int32_t three[] = {3};
  EXPECT_EQ(code_of([&] { (void)r.batch_select_last_hidden_states(Tensor({3, h}), three); }), "input.logit_position");
  PagedKvCache cache = announced(3);
  EXPECT_EQ(code_of([&] {
              r.batch_prefill(Tensor({1, 5, h}), three, cache);
            }),
            "input.logit_position");  // a padding row
  EXPECT_EQ(code_of([&] { r.prefill(Tensor({1, 2, h}), cache); }), "input.shape");
  EXPECT_EQ(code_of([&] { r.prefill(Tensor({3, 1, h}), cache); }), "input.shape");
  EXPECT_EQ(code_of([&] { r.prefill(Tensor({1, 3, h + 1}), cache); }), "input.shape");
  EXPECT_EQ(code_of([&] { r.decode(Tensor({1, 3, h}), cache); }), "input.shape");
  EXPECT_EQ(code_of([&] { r.batch_decode(Tensor({1, 3, h}), cache); }), "input.shape");
  EXPECT_EQ(code_of([&] { r.batch_decode(Tensor({4, 1, h}), cache); }), "input.shape");
  cache.end_forward();
  EXPECT_EQ(code_of([&] { r.prefill(Tensor({1, 3, h}), cache); }), "kv.state");
}

INSTANTIATE_TEST_SUITE_P(Architectures, Methods, ::testing::ValuesIn(kArchitectures),
                         [](const auto& param) { return std::string(name(param.param)); });

TEST(GptBigCode, APositionWithoutAnEmbeddingIsRefused) {
  const Driver driver(small_model(Architecture::gpt_bigcode, {{"n_positions", 8}}));
  PagedKvCache cache = driver.make_cache();
  cache.add_sequence(0);
  EXPECT_EQ(mlbench::test::code_of([&] { driver.forward(cache, 0, some_tokens(9)); }), "input.position_range");
}

TEST(GptBigCode, MultiQueryEqualsManyHeadsWithEqualKeysAndValues) {
  // The fused rows of a multi-head model, made from a multi-query one's: head j holds q_j, then the one key, then the
  // one value.
  const Model one = small_model(Architecture::gpt_bigcode);
  Model many = small_model(Architecture::gpt_bigcode, {{"multi_query", false}});
  const Index d = one.config.head_dim, heads = one.config.num_heads, h = one.config.hidden_size;
  auto weights = std::make_shared<Weights>(*many.weights);
  std::vector<std::shared_ptr<std::vector<double>>> held;
  for (Index layer = 0; layer < 2; ++layer) {
    for (const char* kind : {"weight", "bias"}) {
      const std::string module = "transformer.h." + std::to_string(layer) + ".";
      for (const char* same : {"ln_1.", "ln_2.", "attn.c_proj.", "mlp.c_fc.", "mlp.c_proj."}) {
        weights->put(module + same + kind, one.weights->get(module + same + kind));
      }
      const std::string name = module + "attn.c_attn." + kind;
      const std::vector<double> from = one.weights->get(name).widened();
      const auto width = static_cast<std::size_t>(std::string(kind) == "weight" ? h : 1);
      auto to = std::make_shared<std::vector<double>>();
      const auto append = [&](Index row) {
        const auto begin = from.begin() + row * static_cast<std::ptrdiff_t>(width);
        to->insert(to->end(), begin, begin + d * static_cast<std::ptrdiff_t>(width));
      };
      for (Index j = 0; j < heads; ++j) {
        append(j * d);
        append(heads * d);
        append(heads * d + d);
      }
      held.push_back(to);
      const Index rows = 3 * heads * d;
      const bool bias = width == 1;
      weights->put(name, {.dtype = DType::f64,
                          .rows = bias ? 1 : rows,
                          .cols = bias ? rows : h,
                          .data = reinterpret_cast<const std::byte*>(to->data())});
    }
  }
  for (const char* global : {"transformer.wte.weight", "transformer.wpe.weight", "transformer.ln_f.weight",
                             "transformer.ln_f.bias", "lm_head.weight"}) {
    weights->put(global, one.weights->get(global));
  }
  many.weights = weights;
  const Driver a(one), b(many);
  PagedKvCache ca = a.make_cache(), cb = b.make_cache();
  ca.add_sequence(0);
  cb.add_sequence(0);
  EXPECT_EQ(a.forward(ca, 0, some_tokens(12)), b.forward(cb, 0, some_tokens(12)));
}

}  // namespace
}  // namespace mlbench::ref
