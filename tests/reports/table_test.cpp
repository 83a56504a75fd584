#include "reports/table.h"

#include <gmock/gmock.h>

namespace mlbench::reports {
namespace {

TEST(Table, AlignsColumnsToTheirWidestCell) {
  Table table({{"name", Align::left}, {"n", Align::right}, {"x", Align::left}});
  table.add({"a", "1", "yes"});
  table.add({"longer", "1000", ""});
  EXPECT_EQ(table.text(),
            "name       n  x\n"
            "a          1  yes\n"
            "longer  1000\n");
}

TEST(Table, WithoutRowsShowsItsTitles) {
  EXPECT_EQ(Table({{"one", Align::left}, {"two", Align::right}}).text(), "one  two\n");
}

TEST(Table, GivesColoursNoWidth) {
  Table table({{"verdict", Align::right}, {"x", Align::left}});
  table.add({"\x1b[32mok\x1b[0m", "|"});
  table.add({"\x1b[1;31mFAILED\x1b[0m", "|"});
  EXPECT_EQ(table.text(),
            "verdict  x\n"
            "     \x1b[32mok\x1b[0m  |\n"
            " \x1b[1;31mFAILED\x1b[0m  |\n");
}

TEST(Table, CountsCharactersNotBytes) {
  Table table({{"größe", Align::left}, {"x", Align::left}});
  table.add({"αβ", "|"});
  table.add({"12345", "|"});
  table.add({"日本", "|"});
  EXPECT_EQ(table.text(),
            "größe  x\n"
            "αβ     |\n"
            "12345  |\n"
            "日本     |\n");
}

TEST(Table, KeepsBlanksInsideCellsAndNoneAtTheEndOfLines) {
  Table table({{"a", Align::left}, {"b", Align::left}});
  table.add({" in side", ""});
  table.add({"", "x"});
  EXPECT_EQ(table.text(),
            "a         b\n"
            " in side\n"
            "          x\n");
}

}  // namespace
}  // namespace mlbench::reports
