// The safetensors parser: what it reads, and every way in which a file may lie.
#include "models/safetensors.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <random>

#include <nlohmann/json.hpp>

#include "tests/support/expect_error.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_dir.h"

namespace mlbench {
namespace {

using nlohmann::json;
using test::error_of;
using test::safetensors_bytes;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

std::vector<SafetensorsEntry> parse(const std::string& bytes) {
  // A copy of the exact size on the heap: reading beyond it is seen by the address sanitizer.
  const std::vector<char> copy(bytes.begin(), bytes.end());
  return parse_safetensors(std::as_bytes(std::span(copy)), "model.safetensors");
}

Error refused(const std::string& bytes) {
  Error error = error_of([&] { (void)parse(bytes); });
  EXPECT_EQ(error.kind(), ErrorKind::request);
  EXPECT_THAT(error.message(), StartsWith("model.safetensors: "));
  EXPECT_LT(error.message().size(), 1000U);
  for (const char c : error.message()) EXPECT_FALSE(static_cast<unsigned char>(c) < 0x20) << error.message();
  EXPECT_NO_THROW((void)json(error.message()).dump()) << "not UTF-8: " << error.message();
  return error;
}

std::string file(const json& header, std::size_t data_bytes = 0) {
  return safetensors_bytes(header.dump(), std::string(data_bytes, '\1'));
}
json tensor(const char* dtype, const json& shape, const json& offsets) {
  return {{"dtype", dtype}, {"shape", shape}, {"data_offsets", offsets}};
}
std::string with_length(std::uint64_t length, const std::string& rest) {
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + rest;
}

TEST(Safetensors, EveryWeightTypeSurvivesAFile) {
  const std::vector<double> values{0.0, -1.5, 1024.0, 0x1p-14, -0.0, 3.140625};
  for (const DType type : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    test::TempDir dir;
    test::write_file(dir / "x", safetensors_bytes({{"a", {2, 3}, type, values}, {"b", {6}, type, values}}));
    const SafetensorsFile stored(dir / "x");
    ASSERT_EQ(stored.entries.size(), 2U);
    EXPECT_EQ(stored.entries[0].name, "a");
    EXPECT_EQ(stored.entries[0].shape, (Shape{2, 3}));
    EXPECT_EQ(stored.entries[1].shape, (Shape{6}));
    const std::map<DType, std::string> names{
        {DType::f64, "F64"}, {DType::f32, "F32"}, {DType::bf16, "BF16"}, {DType::f16, "F16"}};
    for (const SafetensorsEntry& entry : stored.entries) {
      EXPECT_EQ(entry.dtype, names.at(type));
      EXPECT_EQ(entry.end - entry.begin, 6 * size_bytes(type));
      std::vector<double> back(6);
      widen(type, stored.map.bytes().data() + entry.begin, back);
      EXPECT_EQ(back, values);
    }
  }
}

TEST(Safetensors, EntriesComeInTheOrderOfTheirBytes) {
  const std::string bytes = file({{"z", tensor("U8", {2}, {0, 2})}, {"a", tensor("U8", {3}, {2, 5})}}, 5);
  const auto entries = parse(bytes);
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].name, "z");
  EXPECT_EQ(entries[0].end, bytes.size() - 3);
  EXPECT_EQ(entries[1].end, bytes.size());
}

TEST(Safetensors, MetadataIsNoTensor) {
  EXPECT_THAT(parse(file({{"__metadata__", {{"format", "pt"}}}})), IsEmpty());
  EXPECT_EQ(parse(file({{"__metadata__", {{"format", "pt"}}}, {"a", tensor("U8", {2}, {0, 2})}}, 2)).size(), 1U);
}

TEST(Safetensors, AnEmptyHeaderIsAFileWithoutTensors) {
  EXPECT_THAT(parse(safetensors_bytes("{}", "")), IsEmpty());
  EXPECT_THAT(parse(safetensors_bytes("{}      ", "")), IsEmpty()) << "padded for alignment";
}

TEST(Safetensors, EmptyAndScalarTensorsAreLegal) {
  const auto entries = parse(file({{"empty", tensor("F32", {0, 7}, {0, 0})},
                                   {"huge empty", tensor("F32", {0, 9223372036854775807LL}, {0, 0})},
                                   {"scalar", tensor("F32", json::array(), {0, 4})},
                                   {"last", tensor("F32", {3, 0}, {4, 4})}},
                                  4));
  EXPECT_EQ(entries.size(), 4U);
}

TEST(Safetensors, SixteenAxesAreTheMost) {
  EXPECT_EQ(parse(file({{"a", tensor("U8", std::vector<int>(16, 1), {0, 1})}}, 1)).size(), 1U);
  EXPECT_THAT(refused(file({{"a", tensor("U8", std::vector<int>(17, 1), {0, 1})}}, 1)).message(), HasSubstr("shape"));
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string whole =
      safetensors_bytes({{"a", {2, 3}, DType::f32, std::vector<double>(6, 1.0)}, {"b", {2}, DType::f64, {1.0, 2.0}}});
  ASSERT_EQ(parse(whole).size(), 2U);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(refused(whole.substr(0, size)).code(), "checkpoint.truncated") << size;
  }
}

TEST(Safetensors, EveryChangedByteIsReadOrRefused) {
  const std::string whole = safetensors_bytes({{"a", {2}, DType::f32, {1.0, 2.0}}, {"b", {2}, DType::f16, {1.0, 2.0}}});
  std::mt19937 random(11);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (int round = 0; round < 40; ++round) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(random());
      try {
        for (const SafetensorsEntry& entry : parse(damaged)) {
          EXPECT_LE(entry.begin, entry.end);
          EXPECT_LE(entry.end, damaged.size());
        }
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::request) << at;
      }
    }
  }
}

TEST(Safetensors, TheHeadersLengthIsChecked) {
  const std::string header = "{}";
  EXPECT_EQ(refused(with_length(0, "")).code(), "checkpoint.format");
  EXPECT_EQ(refused(with_length(0, header)).code(), "checkpoint.format");
  EXPECT_EQ(refused(with_length(3, header)).code(), "checkpoint.truncated");
  EXPECT_EQ(refused(with_length(100'000'000, header)).code(), "checkpoint.truncated");
  EXPECT_EQ(refused(with_length(100'000'001, header)).code(), "checkpoint.format");
  for (const std::uint64_t huge : {~std::uint64_t{0}, ~std::uint64_t{0} - 7, std::uint64_t{1} << 63U}) {
    EXPECT_EQ(refused(with_length(huge, header)).code(), "checkpoint.format") << huge;
  }
}

TEST(Safetensors, TheHeaderMustBeAJsonObject) {
  for (const char* header : {"[]", "3", "null", "\"a\"", "nonsense", "{\"a\":", "{}{}", "{} x", "\xFF\xFE{}", " "}) {
    EXPECT_EQ(refused(safetensors_bytes(header, "")).code(), "checkpoint.format") << header;
  }
  EXPECT_EQ(refused(safetensors_bytes(std::string("{}\0", 3), "")).code(), "checkpoint.format");
  EXPECT_EQ(refused(safetensors_bytes(R"({"a": 1e999})", "")).code(), "checkpoint.format");
  EXPECT_EQ(refused(safetensors_bytes(std::string(100000, '['), "")).code(), "checkpoint.format");
}

TEST(Safetensors, ANameMayStandOnce) {
  const std::string entry = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  const Error error = refused(safetensors_bytes("{\"a\":" + entry + ",\"a\":" + entry + "}", "x"));
  EXPECT_THAT(error.message(), HasSubstr("twice"));
}

TEST(Safetensors, BytesMustBelongToExactlyOneTensor) {
  const struct {
    const char* what;
    json header;
    std::size_t data;
  } cases[] = {
      {"overlap", {{"a", tensor("U8", {4}, {0, 4})}, {"b", tensor("U8", {4}, {3, 7})}}, 7},
      {"the same bytes twice", {{"a", tensor("U8", {4}, {0, 4})}, {"b", tensor("U8", {4}, {0, 4})}}, 4},
      {"one inside another", {{"a", tensor("U8", {9}, {0, 9})}, {"b", tensor("U8", {2}, {3, 5})}}, 9},
      {"an empty one inside another", {{"a", tensor("U8", {9}, {0, 9})}, {"b", tensor("U8", {0}, {3, 3})}}, 9},
      {"a gap at the start", {{"a", tensor("U8", {4}, {1, 5})}}, 5},
      {"a gap between", {{"a", tensor("U8", {4}, {0, 4})}, {"b", tensor("U8", {4}, {5, 9})}}, 9},
      {"bytes after the last", {{"a", tensor("U8", {4}, {0, 4})}}, 5},
      {"bytes without any tensor", json::object(), 1},
  };
  for (const auto& [what, header, data] : cases) {
    EXPECT_EQ(refused(file(header, data)).code(), "checkpoint.format") << what;
  }
}

TEST(Safetensors, OffsetsMustBeARangeInsideTheFile) {
  const json wrong[] = {{4, 0},     {-4, 0},      {0, -4},    {0.0, 4.0},    {0, 4.5},
                        {"0", "4"}, {0},          {0, 4, 8},  json::array(), nullptr,
                        4,          {nullptr, 4}, {{0}, {4}}, {true, 4},     {18446744073709551612ULL, 0},
                        {0, 1e300}};
  for (const json& offsets : wrong) {
    EXPECT_EQ(refused(file({{"a", tensor("U8", {4}, offsets)}}, 4)).code(), "checkpoint.format") << offsets;
  }
  const json outside[] = {
      {0, 5}, {4, 8}, {0, 18446744073709551615ULL}, {18446744073709551611ULL, 18446744073709551615ULL}};
  for (const json& offsets : outside) {
    EXPECT_EQ(refused(file({{"a", tensor("U8", {4}, offsets)}}, 4)).code(), "checkpoint.truncated") << offsets;
  }
}

TEST(Safetensors, TheBytesMustBeThoseOfTypeAndShape) {
  for (const json& shape :
       {json::array({3}), json::array({5}), json::array({2, 3}), json::array({0}), json::array({4, 0})}) {
    EXPECT_EQ(refused(file({{"a", tensor("U8", shape, {0, 4})}}, 4)).code(), "checkpoint.format") << shape;
  }
  EXPECT_EQ(refused(file({{"a", tensor("F32", {4}, {0, 4})}}, 4)).code(), "checkpoint.format");
  EXPECT_EQ(refused(file({{"a", tensor("F64", {1}, {0, 4})}}, 4)).code(), "checkpoint.format");
}

TEST(Safetensors, ShapesMustBeWholeNumbersWhoseProductDoesNotOverflow) {
  const json wrong[] = {{-1, -4}, {2.0, 2.0}, {"4"}, 4, nullptr, "4", {{4}}, {true, 4}, {{"n", 4}}};
  for (const json& shape : wrong) {
    EXPECT_EQ(refused(file({{"a", tensor("U8", shape, {0, 4})}}, 4)).code(), "checkpoint.format") << shape;
  }
  const json overflowing[] = {{4294967296, 4294967296},     // 2^64: wraps to 0
                              {4294967296, 4294967297},     // wraps to 2^32
                              {4611686018427387905LL, 4},   // wraps to 4
                              {9223372036854775808ULL, 2},  // beyond 2^63
                              {18446744073709551615ULL, 18446744073709551615ULL},
                              {1LL << 40, 1LL << 40, 1LL << 40}};
  for (const json& shape : overflowing) {
    for (const json& offsets : {json({0, 0}), json({0, 4})}) {
      EXPECT_EQ(refused(file({{"a", tensor("U8", shape, offsets)}}, 4)).code(), "checkpoint.format") << shape;
    }
  }
  // The product of the shape fits, the bytes do not: 2^62 * 8 wraps to 0.
  EXPECT_EQ(refused(file({{"a", tensor("F64", {4611686018427387904LL}, {0, 0})}})).code(), "checkpoint.format");
}

TEST(Safetensors, TypesMustBeKnown) {
  for (const json& dtype :
       {json("F33"), json("f32"), json("float32"), json(""), json(4), json(nullptr), json("F32\n")}) {
    json entry = tensor("F32", {1}, {0, 4});
    entry["dtype"] = dtype;
    EXPECT_EQ(refused(file({{"a", entry}}, 4)).code(), "checkpoint.format") << dtype;
  }
  const std::pair<const char*, int> known[] = {{"F64", 8}, {"F32", 4}, {"F16", 2},  {"BF16", 2},    {"I64", 8},
                                               {"I32", 4}, {"I16", 2}, {"I8", 1},   {"U64", 8},     {"U32", 4},
                                               {"U16", 2}, {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};
  for (const auto& [dtype, bytes] : known) {
    EXPECT_EQ(parse(file({{"a", tensor(dtype, {3}, {0, 3 * bytes})}}, static_cast<std::size_t>(3 * bytes))).size(), 1U);
  }
}

TEST(Safetensors, EachFieldIsRequired) {
  for (const char* field : {"dtype", "shape", "data_offsets"}) {
    json entry = tensor("U8", {4}, {0, 4});
    entry.erase(field);
    EXPECT_THAT(refused(file({{"a", entry}}, 4)).message(), HasSubstr(field));
  }
  for (const json& entry : {json(4), json("a"), json::array(), json(nullptr), json::object()}) {
    EXPECT_THAT(refused(file({{"some.name", entry}}, 4)).message(), HasSubstr("some.name"));
  }
}

TEST(Safetensors, MessagesStayInOneLineWhateverTheName) {
  const json wrong = tensor("U8", {5}, {0, 4});
  for (const std::string& name : {std::string("a\nb"), std::string("\x1b[2J\r"), std::string("\"quoted\""),
                                  std::string(), std::string(100000, 'n'), std::string("nul\0l", 5)}) {
    EXPECT_EQ(refused(file({{name, wrong}}, 4)).code(), "checkpoint.format");
  }
  EXPECT_EQ(parse(file({{"a\nb", tensor("U8", {4}, {0, 4})}}, 4)).front().name, "a\nb");
}

TEST(Safetensors, ANameMustBeUtf8) {
  for (const char* name : {"\xFF", "a\xC3", "\xED\xA0\x80", "\xC0\xAF"}) {
    const std::string header = std::string("{\"") + name + R"(":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})";
    EXPECT_EQ(refused(safetensors_bytes(header, "1234")).code(), "checkpoint.format");
  }
}

TEST(Safetensors, AFileIsNamedByItsPath) {
  test::TempDir dir;
  test::write_file(dir / "x.safetensors", "12345");
  const Error error = error_of([&] { SafetensorsFile f(dir / "x.safetensors"); });
  EXPECT_EQ(error.code(), "checkpoint.truncated");
  EXPECT_THAT(error.message(), HasSubstr(dir / "x.safetensors"));
  EXPECT_EQ(error_of([&] { SafetensorsFile f(dir / "none"); }).code(), "file.missing");
}

}  // namespace
}  // namespace mlbench
