#include "core/json.h"

#include <random>

#include "tests/support/expect_error.h"

namespace mlbench {
namespace {

using test::error_of;
using ::testing::HasSubstr;
using ::testing::StartsWith;

nlohmann::json parse(std::string_view text) { return parse_json(text, "there", "x.syntax", "x.number"); }
Error refusal(std::string_view text) {
  return error_of([&] { (void)parse(text); });
}

TEST(ParseJson, ReadsWhatIsWellFormed) {
  EXPECT_EQ(parse(R"({"a": [1, 2.5, -3, true, null, "\u00e9"]})"),
            nlohmann::json({{"a", {1, 2.5, -3, true, nullptr, "\xC3\xA9"}}}));
  EXPECT_EQ(parse("  7  "), 7);
}

TEST(ParseJson, RefusesANameGivenTwiceInOneObject) {
  const Error error = refusal(R"({"a": {"k": 1, "k": 2}})");
  EXPECT_EQ(error.code(), "x.syntax");
  EXPECT_EQ(error.kind(), ErrorKind::request);
  EXPECT_THAT(error.message(), StartsWith("there: "));
  EXPECT_THAT(error.message(), HasSubstr("\"k\""));
  EXPECT_EQ(refusal(R"({"a": 1, "b": 2, "\u0061": 3})").code(), "x.syntax") << "the same name, escaped";
  EXPECT_EQ(refusal(R"({"line\nbreak": 1, "line\nbreak": 3})").code(), "x.syntax");
}

TEST(ParseJson, AcceptsANameGivenInDifferentObjects) {
  EXPECT_NO_THROW((void)parse(R"({"k": {"k": 1}, "l": [{"k": 1}, {"k": 2}]})"));
}

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(ParseJson, RefusesNestingDeeperThan64) {
  EXPECT_NO_THROW((void)parse(nested(64)));
  for (const std::size_t depth : {66U, 1000U, 1000000U}) {
    const Error error = refusal(nested(depth));
    EXPECT_EQ(error.code(), "x.syntax") << depth;
    EXPECT_THAT(error.message(), HasSubstr("nested")) << depth;
  }
  EXPECT_THAT(refusal(std::string(1000000, '[')).message(), HasSubstr("nested")) << "never closed";
  std::string objects;
  for (int i = 0; i < 100; ++i) objects += R"({"a":)";
  EXPECT_THAT(refusal(objects).message(), HasSubstr("nested"));
}

TEST(ParseJson, GivesNumbersThatAreNotFiniteACodeOfTheirOwn) {
  for (const char* text : {"1e999", R"({"a": -1e400})", R"([1, 2e308])", "NaN", R"({"a": Infinity})", "[-Infinity]"}) {
    const Error error = refusal(text);
    EXPECT_EQ(error.code(), "x.number") << text;
    EXPECT_EQ(error.kind(), ErrorKind::request);
    EXPECT_THAT(error.message(), StartsWith("there: "));
  }
  EXPECT_EQ(parse("1e-999"), 0.0);
}

TEST(ParseJson, RefusesWhatIsNotJsonInOneLine) {
  for (const char* text :
       {"",        " ",   "{",  "}",       "[1,]",          R"({"a"})", R"({"a":})", "{'a': 1}",
        "\"\n\"",  "\"a", "01", "1 2",     "// comment\n1", "\xFF",     "\"\xFF\"",  "{\"a\": nul\n\n}",
        "\x1b[2J", "-",   "1.", R"("\q")", R"("\ud800")",   "[\x01]"}) {
    const Error error = refusal(text);
    EXPECT_EQ(error.code(), "x.syntax") << text;
    EXPECT_THAT(error.message(), StartsWith("there: ")) << text;
    for (const char c : error.message()) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << error.message();
  }
  for (const std::string_view text : {std::string_view("\0", 1), std::string_view("{}\0", 3),
                                      std::string_view("{}\0}", 4), std::string_view("\"\0\"", 3)}) {
    EXPECT_EQ(refusal(text).code(), "x.syntax");
  }
}

// A message stands in terminals, JSON reports and logs: neither megabytes of it nor bytes that are no text.
TEST(ParseJson, QuotesLittleOfTheTextItRefuses) {
  constexpr std::size_t kMuch = 1000;
  EXPECT_LT(refusal("\"" + std::string(100000, 'a')).message().size(), kMuch);
  EXPECT_LT(refusal(std::string(100000, '1') + "x").message().size(), kMuch);
  EXPECT_LT(refusal("1" + std::string(100000, '0') + "e5").message().size(), kMuch);
  EXPECT_LT(
      refusal("{\"" + std::string(100000, 'a') + "\": 1, \"" + std::string(100000, 'a') + "\": 1}").message().size(),
      kMuch);
}

TEST(ParseJson, MessagesAreValidUtf8) {
  for (const char* text : {"\xFF", "\"\xFF\"", "\"a\xC3", "\"\xED\xA0\x80\"", "{\"\xF5\": 1}"}) {
    const nlohmann::json message = refusal(text).message();
    EXPECT_NO_THROW((void)message.dump()) << text;  // dump() throws where a string is not UTF-8
  }
}

TEST(ParseJson, OnlyEverThrowsRequestErrorsOnRandomBytes) {
  std::mt19937 random(7);
  const std::string alphabet = "{}[]\",:0123456789.eE+-truefalsn \\u\x01\xFF\n";
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    const std::size_t length = random() % 24;
    for (std::size_t k = 0; k < length; ++k) text += alphabet[random() % alphabet.size()];
    try {
      (void)parse(text);
    } catch (const Error& error) {
      ASSERT_EQ(error.kind(), ErrorKind::request) << text;
      ASSERT_EQ(error.message().find('\n'), std::string::npos) << text;
    }
  }
}

TEST(Shown, IsTheJsonTextCutWhenLong) {
  EXPECT_EQ(shown(parse(R"({"a": [1, "x"]})")), R"({"a":[1,"x"]})");
  EXPECT_EQ(shown("\xC3\xA9\n"), R"("\u00e9\n")");
  EXPECT_LE(shown(std::string(1000, 'a')).size(), 83U);
  EXPECT_THAT(shown(std::string(1000, 'a')), ::testing::EndsWith("..."));
}

}  // namespace
}  // namespace mlbench
