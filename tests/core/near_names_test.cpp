#include "core/near_names.h"

#include <gmock/gmock.h>

namespace mlbench {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string> kNames{"llama-2-7b", "llama-2-13b", "llama-3-8b", "phi-1",
                                      "phi-1_5",    "phi-2",       "olmo-1b"};

TEST(NearNames, PutsTheNearestFirst) {
  EXPECT_EQ(near_names_hint("phi2", kNames, "list"), "; near: phi-2, phi-1");
  EXPECT_EQ(near_names_hint("llama-2-8b", kNames, "list"), "; near: llama-2-7b, llama-3-8b, llama-2-13b");
}

TEST(NearNames, FindsNamesThatContainWhatWasGiven) {
  EXPECT_THAT(near_names_hint("olmo", kNames, "list"), HasSubstr("olmo-1b"));
  EXPECT_THAT(near_names_hint("13b", kNames, "list"), HasSubstr("llama-2-13b"));
}

TEST(NearNames, PointsToTheListWhereNothingIsNear) {
  for (const std::string& far : {std::string("gpt-neox"), std::string(), std::string("\n"), std::string(100000, 'p')}) {
    const std::string hint = near_names_hint(far, kNames, "mlbench list presets");
    EXPECT_EQ(hint, "; see: mlbench list presets");
  }
  EXPECT_EQ(near_names_hint("phi-2", {}, "list"), "; see: list");
}

TEST(NearNames, ShowsAtMostFive) {
  std::vector<std::string> many;
  for (int i = 0; i < 10; ++i) many.push_back("name" + std::to_string(i));
  EXPECT_EQ(near_names_hint("name", many, "list"), "; near: name0, name1, name2, name3, name4");
}

}  // namespace
}  // namespace mlbench
