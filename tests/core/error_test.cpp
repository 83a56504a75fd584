#include "core/error.h"

#include <gmock/gmock.h>

namespace mlbench {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Error, KindsHaveTheExitCodesOfTheCommandLine) {
  EXPECT_EQ(exit_code(ErrorKind::request), 2);
  EXPECT_EQ(exit_code(ErrorKind::unavailable), 3);
  EXPECT_EQ(exit_code(ErrorKind::internal), 4);
}

TEST(Error, CarriesItsCodeBesideItsMessageAndBothInWhat) {
  const Error error = request_error("config.value", "config.json: n = 0: must be > 0");
  EXPECT_EQ(error.kind(), ErrorKind::request);
  EXPECT_EQ(error.code(), "config.value");
  EXPECT_EQ(error.message(), "config.json: n = 0: must be > 0");
  EXPECT_STREQ(error.what(), "config.value: config.json: n = 0: must be > 0");
}

TEST(InQuotes, KeepsPrintableTextAndEscapesQuotesAndBackslashes) {
  EXPECT_EQ(in_quotes(""), R"("")");
  EXPECT_EQ(in_quotes("model.norm [x] ~"), R"("model.norm [x] ~")");
  EXPECT_EQ(in_quotes(R"(a"b\c)"), R"("a\"b\\c")");
}

TEST(InQuotes, EscapesEveryControlCharacter) {
  for (int c = 0; c < 0x20; ++c) {
    const std::string quoted = in_quotes(std::string(1, static_cast<char>(c)));
    EXPECT_THAT(quoted, HasSubstr("\\x")) << c;
    EXPECT_EQ(quoted.find(static_cast<char>(c)), std::string::npos) << c;
  }
  EXPECT_EQ(in_quotes("a\nb\r\x1b[2J"), R"("a\x0ab\x0d\x1b[2J")");
  EXPECT_EQ(in_quotes("\x7f"), R"("\x7f")");
}

// U+0080 to U+009F: U+0085 is a line break, U+009B starts a terminal's escape sequence.
TEST(InQuotes, EscapesTheControlCharactersOfTheSecondHalf) {
  for (unsigned c = 0x80; c < 0xA0; ++c) {
    const std::string text = {'\xC2', static_cast<char>(c)};
    EXPECT_THAT(in_quotes(text), Not(HasSubstr(text))) << std::hex << c;
  }
  EXPECT_EQ(in_quotes("\xC2\xA0"), "\"\xC2\xA0\"");
}

TEST(InQuotes, KeepsValidUtf8) {
  for (const char* text : {"\xC3\xA9", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEF\xBF\xBD", "\xF0\x9F\x8E\x89",
                           "\xF4\x8F\xBF\xBF", "\xDF\xBF"}) {
    EXPECT_EQ(in_quotes(text), std::string("\"") + text + "\"");
  }
}

TEST(InQuotes, EscapesWhatIsNotUtf8) {
  EXPECT_EQ(in_quotes("\x80"), R"("\x80")");                          // a trailing byte alone
  EXPECT_EQ(in_quotes("\xC0\xAF"), R"("\xc0\xaf")");                  // overlong
  EXPECT_EQ(in_quotes("\xE0\x9F\xBF"), R"("\xe0\x9f\xbf")");          // overlong
  EXPECT_EQ(in_quotes("\xF0\x8F\xBF\xBF"), R"("\xf0\x8f\xbf\xbf")");  // overlong
  EXPECT_EQ(in_quotes("\xED\xA0\x80"), R"("\xed\xa0\x80")");          // a surrogate
  EXPECT_EQ(in_quotes("\xF4\x90\x80\x80"), R"("\xf4\x90\x80\x80")");  // above U+10FFFF
  EXPECT_EQ(in_quotes("\xFF"), R"("\xff")");
  EXPECT_EQ(in_quotes("\xE2\x82"), R"("\xe2\x82")");  // cut short by the end
  EXPECT_EQ(in_quotes("\xE2\x82x"), R"("\xe2\x82x")");
  EXPECT_EQ(in_quotes("\xC3\xC3\xA9"), "\"\\xc3\xC3\xA9\"");
}

TEST(InQuotes, CutsLongTextBetweenCharacters) {
  EXPECT_EQ(in_quotes(std::string(200, 'a')), "\"" + std::string(200, 'a') + "\"");
  EXPECT_EQ(in_quotes(std::string(201, 'a')), "\"" + std::string(200, 'a') + "...\"");
  EXPECT_EQ(in_quotes("abcdef", 3), R"("abc...")");
  EXPECT_EQ(in_quotes("ab\xC3\xA9"
                      "def",
                      3),
            "\"ab\xC3\xA9...\"");
}

}  // namespace
}  // namespace mlbench
