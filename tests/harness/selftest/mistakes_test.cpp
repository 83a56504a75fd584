// The table of mistakes: what is typed, listed and documented.
#include "harness/selftest/mistakes.h"

#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include <gmock/gmock.h>

#include "models/taps.h"

namespace mlbench::selftest {
namespace {

using ::testing::HasSubstr;

TEST(Mistakes, StandInTheTableInTheirOrderUnderNamesOfTheirOwn) {
  std::set<std::string_view> names, texts;
  std::size_t index = 0;
  for (const MistakeInfo& mistake : mistakes()) {
    EXPECT_EQ(static_cast<std::size_t>(mistake.mistake), index++) << mistake.name;
    EXPECT_TRUE(names.insert(mistake.name).second) << mistake.name;
    EXPECT_TRUE(texts.insert(mistake.what).second) << mistake.name;
    EXPECT_TRUE(std::regex_match(std::string(mistake.name), std::regex("[a-z0-9]+(-[a-z0-9]+)+"))) << mistake.name;
  }
  EXPECT_GE(names.size(), 60U);
}

// A place that cannot be reached would let a mistake count as found elsewhere for ever.
TEST(Mistakes, AreExpectedWhereTheirConfigurationHasATap) {
  for (const MistakeInfo& mistake : mistakes()) {
    ASSERT_FALSE(mistake.places.empty()) << mistake.name;
    std::set<std::string> taps;
    for (const TapId id : all_taps(config_of(mistake.scene))) {
      taps.insert(to_string(id));
      taps.emplace(mlbench::name(id.tap));
    }
    const auto reachable = [&](std::string_view place) {
      const bool other = place.starts_with("memory.") || place.starts_with("cache.") || place == "batch_select" ||
                         place == "taps on = off";
      return other || taps.contains(std::string(place));
    };
    for (const std::string_view place : mistake.places) EXPECT_TRUE(reachable(place)) << mistake.name << " " << place;
  }
}

TEST(Mistakes, AreDocumentedAsListed) {
  std::ifstream file(std::string(MLBENCH_SOURCE_DIR) + "/docs/selftest.md");
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_THAT(text.str(), HasSubstr(list_of_mistakes())) << "put the output of mlbench selftest --list in its place";
}

}  // namespace
}  // namespace mlbench::selftest
