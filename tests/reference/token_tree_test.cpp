// Token trees (specification methods.md, sections 6.2 and 6.3): every node equals plain decoding along its path.
#include <algorithm>

#include <gmock/gmock.h>

#include "tests/reference/small_models.h"
#include "tests/support/expect_error.h"

namespace mlbench::ref {
namespace {

using test::Driver;
using test::Ids;
using test::joined;
using test::rows_of;
using test::small_model;
using test::some_tokens;

// Two roots, siblings, nodes out of depth-first order, a child far from its parent.
const std::vector<Index> kParents{-1, 0, 0, -1, 1, 2, 3, 4, 2, 7};

std::vector<Index> path_to(Index node) {
  std::vector<Index> path;
  for (; node >= 0; node = kParents[static_cast<std::size_t>(node)]) path.push_back(node);
  std::ranges::reverse(path);
  return path;
}

Ids tokens_on(const Ids& tree, Index node) {
  Ids out;
  for (const Index on : path_to(node)) out.push_back(tree[static_cast<std::size_t>(on)]);
  return out;
}

class TokenTree : public ::testing::TestWithParam<Architecture> {
 protected:
  TokenTree() : driver_(small_model(GetParam())) {}
  const Ids prompt_ = some_tokens(11);
  const Ids tree_ = some_tokens(10, 5);
  Driver driver_;
};

TEST_P(TokenTree, EveryNodeSeesThePromptItsAncestorsAndItself) {
  PagedKvCache cache = driver_.make_cache(4);
  cache.add_sequence(0);
  driver_.forward(cache, 0, prompt_);
  const Tensor logits = driver_.forward(cache, {0}, {10}, tree_, kParents);
  for (Index node = 0; node < 10; ++node) {
    PagedKvCache plain = driver_.make_cache();
    plain.add_sequence(0);
    const Ids path = tokens_on(tree_, node);
    const Tensor rows = driver_.forward(plain, 0, joined(prompt_, path));
    EXPECT_EQ(rows_of(logits, node, 1), rows_of(rows, rows.rows() - 1, 1)) << node;
  }
}

TEST_P(TokenTree, CommitLeavesWhatPlainDecodingOfThePathWould) {
  for (const Index leaf : {-1, 0, 2, 5, 9}) {
    PagedKvCache cache = driver_.make_cache(4), plain = driver_.make_cache(4);
    for (PagedKvCache* c : {&cache, &plain}) c->add_sequence(0);
    driver_.forward(cache, 0, prompt_);
    driver_.forward(cache, {0}, {10}, tree_, kParents);
    const SeqId ids[] = {0};
    const Index leaves[] = {leaf};
    cache.commit_accepted_token_tree_nodes(ids, leaves);
    const Ids accepted = joined(prompt_, tokens_on(tree_, leaf));
    driver_.forward(plain, 0, accepted);
    const auto length = static_cast<Index>(accepted.size());
    EXPECT_EQ(cache.sequence_length(0), length);
    EXPECT_EQ(cache.num_available_pages(), plain.num_available_pages());
    EXPECT_EQ(cache.debug_get_kv(0, 0, length).keys, plain.debug_get_kv(0, 0, length).keys);
    EXPECT_EQ(cache.debug_get_kv(0, 0, length).values, plain.debug_get_kv(0, 0, length).values);
    EXPECT_EQ(driver_.forward(cache, 0, {42, 43}), driver_.forward(plain, 0, {42, 43}));
  }
}

TEST_P(TokenTree, ASecondForwardExtendsTheSameTree) {
  PagedKvCache whole = driver_.make_cache(), grown = driver_.make_cache();
  for (PagedKvCache* c : {&whole, &grown}) {
    c->add_sequence(0);
    driver_.forward(*c, 0, prompt_);
  }
  const Tensor expected = driver_.forward(whole, {0}, {10}, tree_, kParents);
  const std::vector<Index> first(kParents.begin(), kParents.begin() + 6), second(kParents.begin() + 6, kParents.end());
  driver_.forward(grown, {0}, {6}, test::slice(tree_, 0, 6), first);
  EXPECT_EQ(driver_.forward(grown, {0}, {4}, test::slice(tree_, 6, 4), second), rows_of(expected, 6, 4));
}

TEST_P(TokenTree, TreesOfSeveralSequencesDoNotMeet) {
  const Ids other = some_tokens(6, 8);
  PagedKvCache cache = driver_.make_cache(4);
  for (const SeqId id : {0, 1}) cache.add_sequence(id);
  driver_.forward(cache, 0, prompt_);
  driver_.forward(cache, 1, other);
  std::vector<Index> parents = kParents;
  parents.insert(parents.end(), {-1, -1, 0});
  const Ids second = some_tokens(3, 12);
  const Tensor both = driver_.forward(cache, {0, 1}, {10, 3}, joined(tree_, second), parents);
  PagedKvCache alone = driver_.make_cache(4);
  alone.add_sequence(1);
  driver_.forward(alone, 1, other);
  EXPECT_EQ(rows_of(both, 10, 3), driver_.forward(alone, {1}, {3}, second, std::vector<Index>{-1, -1, 0}));
  const SeqId ids[] = {0, 1};
  const Index leaves[] = {7, 2};
  cache.commit_accepted_token_tree_nodes(ids, leaves);
  EXPECT_EQ(cache.sequence_length(0), 11 + 4);
  EXPECT_EQ(cache.sequence_length(1), 6 + 2);
}

INSTANTIATE_TEST_SUITE_P(Architectures, TokenTree, ::testing::ValuesIn(kArchitectures),
                         [](const auto& param) { return std::string(name(param.param)); });

TEST(TokenTrees, AreRefusedWhereWindowsMaySlide) {
  const Driver driver(small_model(Architecture::llama));
  PagedKvCache cache = driver.make_cache(16, true);
  cache.add_sequence(0);
  EXPECT_EQ(mlbench::test::code_of([&] {
              driver.forward(cache, {0}, {2}, {1, 2}, std::vector<Index>{-1, 0});
            }),
            "kv.unsupported");
}

}  // namespace
}  // namespace mlbench::ref
