// Goldens of ours that are not as they should be: each refused in one line that names the file.
#include "golden/own_layout.h"

#include <gmock/gmock.h>

#include "tests/golden/example_golden.h"
#include "tests/support/expect_error.h"
#include "tests/support/hdf5_edit.h"
#include "tests/support/temp_dir.h"

namespace mlbench::golden {
namespace {

using test::error_of;
using test::TempDir;
using Reals = std::vector<double>;
using Integers = std::vector<std::int64_t>;
using ::testing::HasSubstr;

class OwnLayout : public ::testing::Test {
 protected:
  OwnLayout() { test::write_example_golden(path_); }

  // The error over the file as it stands now.
  [[nodiscard]] Error error() const {
    GoldenFile file(path_);
    Error error = error_of([&] { const OwnGolden golden(file); });
    EXPECT_EQ(error.kind(), ErrorKind::request);
    EXPECT_THAT(error.message(), HasSubstr(path_));
    return error;
  }

  void expect_format_error(const std::string& said) const {
    const Error refused = error();
    EXPECT_EQ(refused.code(), "golden.format");
    EXPECT_THAT(refused.message(), HasSubstr(said));
  }

  TempDir dir_;
  std::string path_ = dir_ / "golden.h5";
};

TEST_F(OwnLayout, IsKnownByItsFormat) {
  EXPECT_TRUE(is_own_layout(GoldenFile(path_)));
  EXPECT_FALSE(is_own_layout(GoldenFile(std::string(MLBENCH_TEST_DATA) + "/schedules-phi/oracle.h5")));
  test::write_attribute(path_, "format", "mlbench-goldens");
  EXPECT_FALSE(is_own_layout(GoldenFile(path_)));
}

TEST_F(OwnLayout, RefusesAnyOtherHdf5File) {
  GoldenFile file(std::string(MLBENCH_TEST_DATA) + "/schedules-phi/oracle.h5");
  const Error error = error_of([&] { const OwnGolden golden(file); });
  EXPECT_EQ(error.code(), "golden.format");
  EXPECT_THAT(error.message(), HasSubstr("mlbench-golden"));
}

// The root's digest is not renewed here: what is newer may have one of another kind.
TEST_F(OwnLayout, RefusesNewerVersionsWhateverElseTheyHold) {
  test::write_attribute(path_, "format_version", "2");
  test::remove_attribute(path_, "plan");
  test::write_dataset(path_, "/elsewhere", {1}, Reals{1.0});
  const Error refused = error();
  EXPECT_EQ(refused.code(), "golden.version");
  EXPECT_THAT(refused.message(), HasSubstr("format_version 2"));
  EXPECT_THAT(refused.message(), HasSubstr("up to 1"));
}

TEST_F(OwnLayout, RefusesVersionsThatAreNone) {
  for (const char* version : {"0", "-1", "", "one", "1.0", "1 ", "99999999999999999999"}) {
    test::write_attribute(path_, "format_version", version);
    expect_format_error("format_version");
  }
}

TEST_F(OwnLayout, RefusesSeedsThatAreNone) {
  for (const char* seed : {"-1", "x", "18446744073709551616"}) {
    test::write_attribute(path_, "seed", seed);
    expect_format_error("seed");
  }
}

TEST_F(OwnLayout, NamesMissingAttributes) {
  for (const char* name : {"format_version", "program_version", "model", "architecture", "config", "weights",
                           "weights_digest", "seed", "dtype", "arithmetic", "plan", "digest"}) {
    test::write_example_golden(path_);
    test::remove_attribute(path_, name);
    expect_format_error(std::string("attribute ") + name);
  }
  for (const char* name : {"method", "label"}) {
    test::write_example_golden(path_);
    test::remove_attribute_of(path_, "/steps/001", name);
    expect_format_error(std::string("attribute ") + name + " of \"/steps/001\"");
  }
  for (const char* object : {"taps/embed", "limits/logits", "positions", "sequence"}) {
    test::write_example_golden(path_);
    test::remove_attribute_of(path_, std::string("/steps/000/") + object, "digest");
    expect_format_error(std::string("digest of \"/steps/000/") + object);
  }
}

TEST_F(OwnLayout, SeesEveryChangeOfAnAttribute) {
  const std::pair<std::string, std::string> attributes[] = {{"/", "program_version"},
                                                            {"/", "config"},
                                                            {"/", "seed"},
                                                            {"/", "plan"},
                                                            {"/steps/000", "method"},
                                                            {"/steps/001", "label"},
                                                            {"/steps/001/taps/logits", "digest"},
                                                            {"/steps/000/limits/logits", "digest"},
                                                            {"/steps/000/positions", "added"}};
  for (const auto& [object, name] : attributes) {
    test::write_example_golden(path_);
    test::set_attribute_of(path_, object, name, "8");
    EXPECT_EQ(error().code(), "golden.digest") << object << ' ' << name;
  }
}

TEST_F(OwnLayout, SeesThatATapWasTakenOutOrPutIn) {
  test::remove_dataset(path_, "/steps/000/taps/embed");
  EXPECT_EQ(error().code(), "golden.digest");
  test::write_example_golden(path_);
  test::write_dataset(path_, "/steps/000/taps/layers.0.mlp.up", {5, 8}, Reals(40));
  test::set_attribute_of(path_, "/steps/000/taps/layers.0.mlp.up", "digest", "0123456789abcdef");
  EXPECT_EQ(error().code(), "golden.digest");
}

TEST_F(OwnLayout, RefusesWhatIsNoPartOfIt) {
  const Reals one{1.0};
  for (const char* dataset :
       {"/x", "/steps/x", "/steps/000/x", "/steps/000/taps/x", "/steps/000/taps/layers.00.attn.q",
        "/steps/000/taps/layers.0.embed", "/steps/000/taps/attn.q", "/steps/000/taps/embed.token/x",
        "/steps/000/limits/x", "/steps/00/taps/embed", "/steps/0001/taps/embed", "/steps/-01/taps/embed",
        "/steps/+01/taps/embed", "/steps/000x/taps/embed", "/steps/99999999999999999999/taps/embed"}) {
    test::write_example_golden(path_);
    test::write_dataset(path_, dataset, {1}, one);
    expect_format_error("not part of the layout");
  }
  test::write_example_golden(path_);
  test::write_dataset(path_, "/steps/000/limits/layers.0.attn.q.x", {1}, one);
  expect_format_error("not part of the layout");
}

TEST_F(OwnLayout, RefusesStepsThatAreNotWhole) {
  test::remove_dataset(path_, "/steps/001/positions");
  expect_format_error("/steps/001 must have");
  test::write_example_golden(path_);
  test::remove_dataset(path_, "/steps/000/sequence");
  expect_format_error("/steps/000 must have");
  test::write_example_golden(path_);
  test::remove_dataset(path_, "/steps/000");
  expect_format_error("/steps/000 is missing");
  test::remove_dataset(path_, "/steps/001");
  expect_format_error("holds no steps");
}

TEST_F(OwnLayout, RefusesDatasetsOfAnotherKindOrShape) {
  const auto replace = [&](const std::string& dataset, const Shape& shape, const auto& values) {
    test::write_example_golden(path_);
    test::remove_dataset(path_, dataset);
    test::write_dataset(path_, dataset, shape, values);
    expect_format_error("\"" + dataset + "\"");
  };
  replace("/steps/000/positions", {5}, Reals(5));
  replace("/steps/000/positions", {5, 1}, Integers(5));
  replace("/steps/000/sequence", {}, Integers(1));
  replace("/steps/000/taps/embed", {5, 8}, Integers(40));
  replace("/steps/000/taps/embed", {}, Reals(1));
  replace("/steps/000/limits/logits", {5, 1}, Reals(5));

  test::write_example_golden(path_);
  test::remove_dataset(path_, "/steps/000/sequence");
  test::write_dataset(path_, "/steps/000/sequence", {4}, Integers(4));
  test::set_attribute_of(path_, "/steps/000/sequence", "digest", "");
  expect_format_error("equally long");

  test::write_example_golden(path_);
  test::write_dataset(path_, "/steps/000/limits/final_norm", {5}, Reals(5));
  test::set_attribute_of(path_, "/steps/000/limits/final_norm", "digest", "");
  expect_format_error("is of no tap");

  test::write_example_golden(path_);
  test::remove_dataset(path_, "/steps/000/taps/embed");
  test::add_soft_link(path_, "/steps/000/taps/logits", "/steps/000/taps/embed");
  expect_format_error("/steps/000/taps/embed");
}

TEST_F(OwnLayout, NamesTheDatasetWhoseValuesWereChanged) {
  for (const char* dataset : {"taps/embed", "taps/layers.0.attn.q", "taps/logits", "limits/logits"}) {
    test::write_example_golden(path_);
    const std::string name = std::string("/steps/000/") + dataset;
    test::add_to_element(path_, name, 3, 1e-15);
    GoldenFile file(path_);
    OwnGolden golden(file);
    const StepInfo& step = golden.steps()[0];
    const std::string tap = name.substr(name.rfind('/') + 1);
    const bool limit = name.find("limits") != std::string::npos;
    const Error error = error_of([&] { (void)(limit ? golden.limits(step, tap) : golden.tap(step, tap)); });
    EXPECT_EQ(error.code(), "golden.digest");
    EXPECT_EQ(error.kind(), ErrorKind::request);
    EXPECT_THAT(error.message(), HasSubstr(path_));
    EXPECT_THAT(error.message(), HasSubstr("\"" + name + "\""));
    EXPECT_EQ(golden.tap(golden.steps()[1], "logits"), test::example_values({2, 11}, 5.0));  // the others stand
  }
}

TEST_F(OwnLayout, NamesInputsThatWereChanged) {
  for (const char* name : {"positions", "sequence"}) {
    test::write_example_golden(path_);
    const std::string dataset = std::string("/steps/001/") + name;
    const std::string digest = GoldenFile(path_).find(dataset)->attributes.at("digest");
    test::remove_dataset(path_, dataset);
    test::write_dataset(path_, dataset, {2}, Integers{0, 5});
    test::set_attribute_of(path_, dataset, "digest", digest);
    GoldenFile file(path_);
    OwnGolden golden(file);
    const Error error = error_of([&] {
      (void)golden.positions(golden.steps()[1]);
      (void)golden.sequence(golden.steps()[1]);
    });
    EXPECT_EQ(error.code(), "golden.digest");
    EXPECT_THAT(error.message(), HasSubstr(dataset));
  }
}

TEST_F(OwnLayout, SaysWhichTapAStepHasNot) {
  GoldenFile file(path_);
  OwnGolden golden(file);
  const Error tap = error_of([&] { (void)golden.tap(golden.steps()[1], "embed"); });
  EXPECT_EQ(tap.code(), "golden.format");
  EXPECT_THAT(tap.message(), HasSubstr("/steps/001 has no tap \"embed\""));
  const Error limits = error_of([&] { (void)golden.limits(golden.steps()[0], "embed"); });
  EXPECT_THAT(limits.message(), HasSubstr("/steps/000 has no limits of tap \"embed\""));
}

TEST_F(OwnLayout, TakesAttributesThatAnotherProgramWroteAnew) {
  test::set_attribute_of(path_, "/", "model", "renamed");
  test::renew_digest(path_);
  GoldenFile file(path_);
  EXPECT_EQ(OwnGolden(file).manifest().model, "renamed");
}

TEST(ParseTap, KnowsEveryTapAndNothingElse) {
  for (int tap = 0; tap <= static_cast<int>(Tap::logits); ++tap) {
    for (const Index layer : {-1, 0, 1, 79}) {
      const TapId id{static_cast<Tap>(tap), layer};
      if (per_layer(id.tap) != (layer >= 0)) {
        EXPECT_EQ(parse_tap(to_string(id)), std::nullopt) << to_string(id);
      } else {
        EXPECT_EQ(parse_tap(to_string(id)), id) << to_string(id);
      }
    }
  }
  for (const char* text :
       {"", ".", "x", "layers.", "layers.0", "layers.0.", "layers.x.out", "layers.-1.out", "layers.00.out",
        "layers. 0.out", "layers.2147483648.out", "layers.0.out.", "Embed", "embed "})
    EXPECT_EQ(parse_tap(text), std::nullopt) << text;
}

}  // namespace
}  // namespace mlbench::golden
