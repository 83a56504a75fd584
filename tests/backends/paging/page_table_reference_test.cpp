// The bookkeeping of the backends' caches against the reference's.
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "tests/backends/paging/random_operations.h"

namespace mlbench::paging {
namespace {

constexpr Index kFewPages = 5;

// ---- against the reference ----

class PageTableAgainstReference : public ::testing::TestWithParam<PairSetting> {};

// What the operations must have come to, for the comparison to be worth something.
std::vector<std::string> outcomes_of(const PairSetting& setting) {
  std::vector<std::string> all = {"add ",
                                  "add kv.duplicate_seq",
                                  "add kv.bad_argument",
                                  "remove ",
                                  "remove kv.unknown_seq",
                                  "fork ",
                                  "fork kv.bad_argument",
                                  "fork kv.unknown_seq",
                                  "popn ",
                                  "popn kv.bad_argument",
                                  "begin ",
                                  "begin kv.state",
                                  "begin kv.unknown_seq",
                                  "end ",
                                  "begin kv.chunk_too_large",
                                  "begin kv.bad_argument"};
  const auto add = [&](const std::vector<std::string>& more) { all.insert(all.end(), more.begin(), more.end()); };
  if (setting.page_size > 1) add({"fork copied", "popn copied"});
  if (setting.pages == kFewPages) add({"begin kv.full"});
  if (setting.cache == Cache::windows) {
    add({"prepare kv.unsupported", "mark kv.unsupported"});
  } else {
    add({"prepare ", "prepare kv.state", "prepare kv.bad_argument", "prepare kv.unknown_seq", "receive "});
    add({"mark ", "mark kv.state", "mark kv.bad_argument", "mark kv.unknown_seq", "receive nobody", "begin sends"});
    add({"fork kv.state", "popn kv.state"});
  }
  switch (setting.cache) {
    case Cache::trees:
      add({"begin tree", "begin kv.uncommitted_tree", "fork kv.uncommitted_tree"});
      add({"commit ", "commit kv.unsupported", "commit kv.bad_argument"});
      add({"prepare kv.uncommitted_tree", "mark kv.uncommitted_tree", "begin kv.unsupported"});
      break;
    case Cache::in_line: add({"begin kv.unsupported", "enable kv.unsupported"}); break;
    case Cache::windows: add({"enable ", "enable kv.bad_argument", "slid", "popn kv.unsupported"}); break;
  }
  return all;
}

TEST_P(PageTableAgainstReference, BehavesAlikeUnderRandomOperations) {
  Pair pair(GetParam());
  for (int i = 0; i < 15000; ++i) {
    pair.step();
    ASSERT_FALSE(HasFailure()) << "operation " << i;
  }
  for (const std::string& outcome : outcomes_of(GetParam())) EXPECT_GT(pair.times(outcome), 5) << outcome;
}

std::vector<PairSetting> settings() {
  std::vector<PairSetting> all;
  for (const Cache cache : {Cache::trees, Cache::in_line, Cache::windows}) {
    for (const Index page_size : {1, 2, 3, 16}) {
      for (const Index pages : {kFewPages, Index{14}}) all.push_back({cache, page_size, pages});
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Settings, PageTableAgainstReference, ::testing::ValuesIn(settings()),
                         ::testing::PrintToStringParamName());

}  // namespace
}  // namespace mlbench::paging
