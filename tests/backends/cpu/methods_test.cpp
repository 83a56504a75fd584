// Every method and cache operation against the reference, for all architectures and storage types: results, all taps,
// cached entries.
#include <gtest/gtest.h>

#include "tests/backends/cpu/side_by_side.h"

namespace mlbench::cpu::test {
namespace {

using ref::test::slice;
using ref::test::small_model;
using ref::test::some_tokens;

struct Case {
  Architecture architecture;
  DType dtype;
};

class Methods : public testing::TestWithParam<Case> {
 protected:
  [[nodiscard]] static SideBySide side_by_side(int threads = 1) {
    return SideBySide(small_model(GetParam().architecture), GetParam().dtype, kLimits, threads);
  }
};

TEST_P(Methods, PrefillAndDecodeAreTheReferences) {
  SideBySide sides = side_by_side();
  sides.both([](auto& cache) { cache.add_sequence(0); });
  sides.prefill(0, some_tokens(37));  // over two page borders
  for (const std::int32_t token : some_tokens(3, 2)) sides.decode(0, token);
  sides.compare_entries(0);
}

TEST_P(Methods, RaggedBatchesAreTheReferences) {
  SideBySide sides = side_by_side();
  sides.both([](auto& cache) {
    for (const SeqId id : {3, 1, 7}) cache.add_sequence(id);
  });
  // Positions in any order, and one twice.
  sides.run({Method::batch_prefill, {3, 1, 7}, {1, 21, 16}, some_tokens(38), {37, 0, 21, 21}});
  sides.run({Method::batch_decode, {7, 3, 1}, {1, 1, 1}, some_tokens(3, 2)});
  sides.run({Method::batch_verify, {1, 7}, {2, 3}, some_tokens(5, 3)});
  for (const SeqId id : {1, 3, 7}) sides.compare_entries(id);
}

TEST_P(Methods, HiddenStatesAreTheReferences) {
  SideBySide sides = side_by_side();
  sides.both([](auto& cache) {
    cache.add_sequence(0);
    cache.add_sequence(1);
  });
  sides.run({Method::prefill_to_last_hidden_states, {0}, {5}, some_tokens(5)});
  sides.run({Method::decode_to_last_hidden_states, {0}, {1}, some_tokens(1, 2)});
  sides.run({Method::batch_prefill_to_last_hidden_states, {1, 0}, {4, 2}, some_tokens(6, 3)});
  sides.run({Method::batch_decode_to_last_hidden_states, {0, 1}, {1, 1}, some_tokens(2, 4)});
  sides.run({Method::batch_verify_to_last_hidden_states, {0, 1}, {2, 3}, some_tokens(5, 5)});
}

TEST_P(Methods, ChunkedPrefillIsTheReferences) {
  SideBySide sides = side_by_side();
  sides.both([](auto& cache) { cache.add_sequence(0); });
  const Ids tokens = some_tokens(41);
  sides.prefill(0, slice(tokens, 0, 16));
  sides.prefill(0, slice(tokens, 16, 1));
  sides.prefill(0, slice(tokens, 17, 24));
  sides.compare_entries(0);
}

TEST_P(Methods, TokenTreesAreTheReferences) {
  SideBySide sides = side_by_side();
  sides.both([](auto& cache) {
    cache.add_sequence(0);
    cache.add_sequence(1);
  });
  sides.run({Method::batch_prefill, {0, 1}, {14, 3}, some_tokens(17), {13, 16}});
  // Two roots and branches; and a chain.
  const std::vector<Index> parents = {-1, 0, 0, -1, 2, 1, -1, 0, 1};
  sides.run({Method::batch_verify, {0, 1}, {6, 3}, some_tokens(9, 2), {}, parents});
  sides.both([](auto& cache) {
    cache.commit_accepted_token_tree_nodes(std::vector<SeqId>{0, 1}, std::vector<Index>{4, -1});
  });
  sides.run({Method::batch_decode, {0, 1}, {1, 1}, some_tokens(2, 3)});
  sides.compare_entries(0);
  sides.compare_entries(1);
}

TEST_P(Methods, ATreeGrownInTwoForwardsIsTheReferences) {
  SideBySide sides = side_by_side();
  sides.both([](auto& cache) { cache.add_sequence(0); });
  sides.prefill(0, some_tokens(6));
  sides.run({Method::batch_verify, {0}, {2}, some_tokens(2, 2), {}, std::vector<Index>{-1, 0}});
  sides.run({Method::batch_decode, {0}, {1}, some_tokens(1, 3), {}, std::vector<Index>{0}});
}

TEST_P(Methods, ForksAreTheReferences) {
  SideBySide sides = side_by_side();
  sides.both([](auto& cache) { cache.add_sequence(0); });
  sides.prefill(0, some_tokens(27));
  sides.both([](auto& cache) {
    cache.fork_sequence(0, 1, 21);  // inside a page
    cache.fork_sequence(0, 2, -1);
    cache.fork_sequence(2, 3, 16);  // at a border
  });
  sides.run({Method::batch_decode, {0, 1, 2, 3}, {1, 1, 1, 1}, some_tokens(4, 2)});
  for (const SeqId id : {0, 1, 2, 3}) sides.compare_entries(id);
}

TEST_P(Methods, WhatIsPoppedIsForgotten) {
  SideBySide sides = side_by_side();
  sides.both([](auto& cache) { cache.add_sequence(0); });
  sides.prefill(0, some_tokens(20));
  sides.both([](auto& cache) { cache.fork_sequence(0, 1, -1); });
  sides.both([](auto& cache) { cache.popn(0, 9); });  // into what both share
  sides.run({Method::batch_prefill, {0, 1}, {3, 2}, some_tokens(5, 2), {2, 4}});
  sides.both([](auto& cache) { cache.remove_sequence(1); });
  sides.decode(0, 5);
  sides.compare_entries(0);
}

TEST_P(Methods, TwoThreadsAreTheReferences) {
  SideBySide sides = side_by_side(2);
  sides.both([](auto& cache) {
    cache.add_sequence(0);
    cache.add_sequence(1);
  });
  sides.run({Method::batch_prefill, {0, 1}, {40, 9}, some_tokens(49), {39, 48}});
  sides.run({Method::batch_decode, {0, 1}, {1, 1}, some_tokens(2, 3)});
}

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const Architecture architecture : kArchitectures) {
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) out.push_back({architecture, dtype});
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(All, Methods, testing::ValuesIn(cases()), [](const auto& instance) {
  return std::string(name(instance.param.architecture)) + "_" + std::string(name(instance.param.dtype));
});

}  // namespace
}  // namespace mlbench::cpu::test
