// RoPE fields: where they stand, in both generations of config.json, and what each kind requires.
#include "tests/models/config_support.h"

namespace mlbench {
namespace {

using nlohmann::json;
using test::changed;
using test::expect_refused;
using test::minimal;
using test::minimal_msft;
using test::read;

const json kLlama = minimal(Architecture::llama);  // d = 16, Lmax = 128
RopeConfig rope_of(const json& changes) { return read(changed(kLlama, changes)).rope; }

TEST(RopeFields, ThetaStandsInTheDictThenAtTheTopThenIs10000) {
  EXPECT_EQ(rope_of({}).theta, 10000.0);
  EXPECT_EQ(rope_of({{"rope_theta", 5e5}}).theta, 5e5);
  EXPECT_EQ(rope_of({{"rope_theta", nullptr}}).theta, 10000.0);
  EXPECT_EQ(rope_of({{"rope_theta", 1000000}}).theta, 1e6) << "an integer is a number";
  const json nested = {{"rope_type", "default"}, {"rope_theta", 7e4}};
  EXPECT_EQ(rope_of({{"rope_parameters", nested}}).theta, 7e4);
  EXPECT_EQ(rope_of({{"rope_parameters", nested}, {"rope_theta", 5e5}}).theta, 7e4);
  EXPECT_EQ(rope_of({{"rope_scaling", nested}, {"rope_theta", 5e5}}).theta, 7e4);
  EXPECT_EQ(
      rope_of({{"rope_parameters", {{"rope_theta", nullptr}, {"rope_type", "default"}}}, {"rope_theta", 5e5}}).theta,
      5e5);
}

TEST(RopeFields, PositionEmbeddingBaseBeatsEveryThetaUnlessZero) {
  const json nested = {{"rope_type", "default"}, {"rope_theta", 7e4}};
  EXPECT_EQ(rope_of({{"position_embedding_base", 3e3}}).theta, 3e3);
  EXPECT_EQ(rope_of({{"position_embedding_base", 3e3}, {"rope_theta", 5e5}, {"rope_parameters", nested}}).theta, 3e3);
  EXPECT_EQ(rope_of({{"position_embedding_base", 0}, {"rope_theta", 5e5}}).theta, 5e5);
  EXPECT_EQ(rope_of({{"position_embedding_base", nullptr}, {"rope_theta", 5e5}}).theta, 5e5);
  EXPECT_EQ(read(changed(minimal_msft(), {{"position_embedding_base", 5e5}})).rope.theta, 5e5);
}

TEST(RopeFields, ScalingBeatsParametersUnlessEmptyOrNull) {
  const json linear = {{"rope_type", "linear"}, {"factor", 2.0}}, dynamic = {{"rope_type", "dynamic"}, {"factor", 4.0}};
  EXPECT_EQ(rope_of({{"rope_scaling", linear}, {"rope_parameters", dynamic}}).kind, RopeKind::linear);
  EXPECT_EQ(rope_of({{"rope_scaling", json::object()}, {"rope_parameters", dynamic}}).kind, RopeKind::dynamic);
  EXPECT_EQ(rope_of({{"rope_scaling", nullptr}, {"rope_parameters", dynamic}}).kind, RopeKind::dynamic);
  EXPECT_EQ(rope_of({{"rope_scaling", nullptr}, {"rope_parameters", nullptr}}).kind, RopeKind::plain);
  EXPECT_EQ(rope_of({{"rope_scaling", json::object()}}).kind, RopeKind::plain);
  // Theta comes from the dict that counts, not from the other one.
  EXPECT_EQ(rope_of({{"rope_scaling", linear}, {"rope_parameters", {{"rope_theta", 7e4}}}, {"rope_theta", 5e5}}).theta,
            5e5);
}

TEST(RopeFields, KindIsRopeTypeThenTypeThenDefault) {
  EXPECT_EQ(rope_of({{"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}}}).kind, RopeKind::linear);
  EXPECT_EQ(rope_of({{"rope_scaling", {{"rope_type", "linear"}, {"type", "dynamic"}, {"factor", 2.0}}}}).kind,
            RopeKind::linear);
  EXPECT_EQ(rope_of({{"rope_scaling", {{"rope_type", nullptr}, {"type", "dynamic"}, {"factor", 2.0}}}}).kind,
            RopeKind::dynamic);
  EXPECT_EQ(rope_of({{"rope_scaling", {{"factor", 2.0}}}}).kind, RopeKind::plain);
  EXPECT_EQ(rope_of({{"rope_scaling", {{"rope_type", "default"}}}}).kind, RopeKind::plain);
}

TEST(RopeFields, UnknownKindsAreRefused) {
  for (const char* kind : {"llama4", "gptj", "ntk", "su", "mrope", "", "Linear", "none"}) {
    for (const char* field : {"rope_type", "type"}) {
      expect_refused(kLlama, {{{"rope_scaling", {{field, kind}, {"factor", 2.0}}}},
                              "config.unsupported",
                              std::string("rope_scaling.") + field + " = \"" + kind + "\""});
    }
  }
  expect_refused(kLlama, {{{"rope_scaling", {{"rope_type", 2}}}}, "config.type", "rope_scaling.rope_type = 2"});
  for (const json& wrong : {json("linear"), json(2.0), json::array({1}), json(true)}) {
    expect_refused(kLlama, {{{"rope_scaling", wrong}}, "config.type", "rope_scaling = "});
    expect_refused(kLlama, {{{"rope_parameters", wrong}}, "config.type", "rope_parameters = "});
  }
}

TEST(RopeFields, OrionKnowsThreeKinds) {
  const json orion = minimal(Architecture::orion);
  for (const char* kind : {"default", "linear", "dynamic"}) {
    EXPECT_NO_THROW((void)read(changed(orion, {{"rope_scaling", {{"rope_type", kind}, {"factor", 2.0}}}}))) << kind;
  }
  for (const char* kind : {"llama3", "yarn", "longrope"}) {
    expect_refused(orion, {{{"rope_scaling", {{"rope_type", kind}, {"factor", 2.0}}}}, "config.unsupported", kind});
  }
}

json llama3() {
  return {{"rope_type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0}};
}
json longrope() {
  return {{"rope_type", "longrope"},
          {"factor", 4.0},
          {"short_factor", std::vector<double>(8, 1.0)},
          {"long_factor", std::vector<double>(8, 2.5)}};
}

TEST(RopeKinds, ReadTheirFields) {
  for (const Architecture architecture : {Architecture::llama, Architecture::olmo, Architecture::phi}) {
    json config = changed(minimal(architecture), {{"partial_rotary_factor", "-"}});
    if (architecture == Architecture::phi) config["partial_rotary_factor"] = 1.0;
    const auto rope = [&](const json& scaling) { return read(changed(config, {{"rope_scaling", scaling}})).rope; };

    EXPECT_EQ(rope({{"rope_type", "linear"}, {"factor", 2}}).factor, 2.0);
    EXPECT_EQ(rope({{"rope_type", "dynamic"}, {"factor", 3.5}}).factor, 3.5);

    const RopeConfig scaled = rope(llama3());
    EXPECT_EQ(scaled.kind, RopeKind::llama3);
    EXPECT_EQ(scaled.factor, 8.0);
    EXPECT_EQ(scaled.low_freq_factor, 1.0);
    EXPECT_EQ(scaled.high_freq_factor, 4.0);

    const RopeConfig yarn = rope({{"rope_type", "yarn"}, {"factor", 16.0}});
    EXPECT_EQ(yarn.kind, RopeKind::yarn);
    EXPECT_EQ(yarn.beta_fast, 32.0);
    EXPECT_EQ(yarn.beta_slow, 1.0);
    EXPECT_TRUE(yarn.truncate);
    EXPECT_EQ(yarn.attention_factor, std::nullopt);
    EXPECT_EQ(yarn.mscale, 0.0);
    EXPECT_EQ(yarn.mscale_all_dim, 0.0);
    const RopeConfig full = rope({{"rope_type", "yarn"},
                                  {"factor", 16.0},
                                  {"beta_fast", 24.0},
                                  {"beta_slow", 2.0},
                                  {"attention_factor", 1.25},
                                  {"truncate", false},
                                  {"mscale", 0.7},
                                  {"mscale_all_dim", 0.5}});
    EXPECT_EQ(full.beta_fast, 24.0);
    EXPECT_EQ(full.beta_slow, 2.0);
    EXPECT_FALSE(full.truncate);
    EXPECT_EQ(full.attention_factor, 1.25);
    EXPECT_EQ(full.mscale, 0.7);
    EXPECT_EQ(full.mscale_all_dim, 0.5);

    const RopeConfig lengthened = rope(longrope());
    EXPECT_EQ(lengthened.kind, RopeKind::longrope);
    EXPECT_EQ(lengthened.short_factor, std::vector<double>(8, 1.0));
    EXPECT_EQ(lengthened.long_factor, std::vector<double>(8, 2.5));
    EXPECT_EQ(lengthened.factor, 4.0);
  }
}

TEST(RopeKinds, OriginalLengthStandsAtTheTopThenInTheDictThenIsTheMaximum) {
  for (json scaling : {llama3(), longrope(), json{{"rope_type", "yarn"}, {"factor", 2.0}}}) {
    EXPECT_EQ(rope_of({{"rope_scaling", scaling}}).original_max_positions, 128);
    scaling["original_max_position_embeddings"] = 64;
    EXPECT_EQ(rope_of({{"rope_scaling", scaling}}).original_max_positions, 64);
    EXPECT_EQ(rope_of({{"rope_scaling", scaling}, {"original_max_position_embeddings", 32}}).original_max_positions,
              32);
  }
}

TEST(RopeKinds, LongropesFactorDefaultsToTheStretch) {
  json scaling = longrope();
  scaling.erase("factor");
  scaling["original_max_position_embeddings"] = 32;
  EXPECT_EQ(rope_of({{"rope_scaling", scaling}}).factor, 4.0);  // 128 / 32
}

TEST(RopeKinds, MissNoRequiredField) {
  const struct {
    json scaling;
    std::vector<const char*> required;
  } kinds[] = {{{{"rope_type", "linear"}, {"factor", 2.0}}, {"factor"}},
               {{{"rope_type", "dynamic"}, {"factor", 2.0}}, {"factor"}},
               {{{"rope_type", "yarn"}, {"factor", 2.0}}, {"factor"}},
               {llama3(), {"factor", "low_freq_factor", "high_freq_factor"}},
               {longrope(), {"short_factor", "long_factor"}}};
  for (const auto& [scaling, required] : kinds) {
    for (const char* where : {"rope_scaling", "rope_parameters"}) {
      EXPECT_NO_THROW((void)rope_of({{where, scaling}}));
      for (const char* field : required) {
        for (const json& absent : {json("-"), json(nullptr)}) {
          expect_refused(
              kLlama,
              {{{where, changed(scaling, {{field, absent}})}}, "config.missing", std::string(where) + "." + field});
        }
        expect_refused(kLlama, {{{where, changed(scaling, {{field, "2"}})}},
                                "config.type",
                                std::string(where) + "." + field + " = \"2\""});
      }
    }
  }
}

TEST(RopeKinds, RefuseValuesOutOfRange) {
  const json yarn = {{"rope_type", "yarn"}, {"factor", 2.0}};
  const struct {
    json scaling;
    const char* field;
    json value;
  } cases[] = {
      {{{"rope_type", "linear"}}, "factor", 0.5},
      {{{"rope_type", "linear"}}, "factor", -2.0},
      {{{"rope_type", "dynamic"}}, "factor", 0},
      {yarn, "factor", 0.999},
      {llama3(), "factor", 0.5},
      {llama3(), "high_freq_factor", 1.0},  // equal: division by zero
      {llama3(), "high_freq_factor", 0.5},
      {llama3(), "low_freq_factor", 0.0},
      {longrope(), "factor", 0.5},
      {longrope(), "short_factor", std::vector<double>(7, 1.0)},
      {longrope(), "long_factor", std::vector<double>(9, 1.0)},
      {longrope(), "long_factor", json::array()},
      {longrope(), "short_factor", {1, 1, 1, 0, 1, 1, 1, 1}},
      {longrope(), "original_max_position_embeddings", 1},  // its logarithm divides
      {yarn, "beta_fast", 0.0},
      {yarn, "beta_slow", 0.0},
      {yarn, "original_max_position_embeddings", 0},
      {yarn, "rope_theta", 1.0},  // its logarithm divides
  };
  for (const auto& [scaling, field, value] : cases) {
    expect_refused(kLlama, {{{"rope_scaling", changed(scaling, {{field, value}})}},
                            "config.value",
                            std::string("rope_scaling.") + field + " = "});
  }
  expect_refused(kLlama, {{{"rope_scaling", changed(longrope(), {{"long_factor", {1, 1, 1, "1", 1, 1, 1, 1}}})}},
                          "config.type",
                          "rope_scaling.long_factor = "});
  expect_refused(kLlama, {{{"rope_scaling", changed(yarn, {{"truncate", 1}})}}, "config.type", "truncate = 1"});
  expect_refused(changed(kLlama, {{"head_dim", 2}}),
                 {{{"rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2.0}}}}, "config.unsupported", "rope_type"});
}

// Wherever a wrong value stands, the message shows that one and not the place where it is absent.
TEST(RopeKinds, NameTheFieldWhereItStands) {
  const json yarn = {{"rope_type", "yarn"}, {"factor", 2.0}};
  expect_refused(kLlama, {{{"rope_scaling", yarn}, {"rope_theta", 1.0}}, "config.value", "rope_theta = 1"});
  expect_refused(kLlama, {{{"rope_scaling", longrope()}, {"original_max_position_embeddings", 1}},
                          "config.value",
                          "original_max_position_embeddings = 1"});
  for (const char* field : {"original_max_position_embeddings", "max_position_embeddings"}) {
    expect_refused(kLlama, {{{"rope_scaling", yarn}, {field, -4}}, "config.value", std::string(field) + " = -4"});
  }
}

TEST(PhiRope, RotaryFactorStandsInTheDictThenAtTheTopThenIsOneHalf) {
  const json phi = minimal(Architecture::phi);  // d = 16
  const auto size = [&](const json& changes) { return read(changed(phi, changes)).rope.rotary_dim; };
  EXPECT_EQ(size({}), 8);
  EXPECT_EQ(size({{"partial_rotary_factor", nullptr}}), 8);
  EXPECT_EQ(size({{"partial_rotary_factor", 0.25}}), 4);
  EXPECT_EQ(size({{"partial_rotary_factor", 1}}), 16);
  EXPECT_EQ(size({{"rope_parameters", {{"partial_rotary_factor", 0.75}}}}), 12);
  EXPECT_EQ(size({{"rope_parameters", {{"partial_rotary_factor", 0.75}}}, {"partial_rotary_factor", 0.25}}), 12);
  EXPECT_EQ(size({{"hidden_size", 320}, {"partial_rotary_factor", 0.4}}), 32) << "phi-2: 0.4 * 80";
  EXPECT_EQ(size({{"partial_rotary_factor", 0.3}}), 4) << "4.8 is truncated";
}

TEST(PhiRope, PhiMsftGivesTheSizeItself) {
  const ModelConfig config = read(changed(minimal_msft(), {{"rotary_dim", 12}, {"partial_rotary_factor", 0.5}}));
  EXPECT_EQ(config.rope.rotary_dim, 12);
}

TEST(RopeFields, OthersRotateTheWholeHead) {
  EXPECT_EQ(rope_of({}).rotary_dim, 16);
  EXPECT_EQ(rope_of({{"head_dim", 24}}).rotary_dim, 24);
  EXPECT_EQ(rope_of({{"partial_rotary_factor", 0.5}}).rotary_dim, 16) << "Hugging Face does not read it for these";
}

}  // namespace
}  // namespace mlbench
