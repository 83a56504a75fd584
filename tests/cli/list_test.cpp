// The listings, for people and for programs.
#include <algorithm>

#include <gmock/gmock.h>

#include "models/presets.h"
#include "tests/cli/case_copy.h"

namespace mlbench::test {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

std::string text_of(const Words& words) {
  const Outcome run = run_program(words);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(run.out.find('\x1b'), std::string::npos);  // no colour in a pipe
  return run.out;
}

json json_of(Words words) {
  words.emplace_back("--json");
  return json::parse(text_of(words));
}

Words names(const json& list) {
  Words out;
  for (const json& item : list) out.push_back(item["name"]);
  return out;
}

TEST(ListArchs, ShowsAllFive) {
  EXPECT_THAT(names(json_of({"list", "archs"})), ElementsAre("llama", "orion", "olmo", "phi", "gpt_bigcode"));
  EXPECT_EQ(lines_of(text_of({"list", "archs"})).size(), 6U);
}

TEST(ListPresets, ShowsEveryPresetInTextAndJson) {
  const json list = json_of({"list", "presets"});
  EXPECT_EQ(names(list), preset_names());
  const std::string text = text_of({"list", "presets"});
  EXPECT_EQ(lines_of(text).size(), list.size() + 1);
  for (const std::string& name : preset_names()) EXPECT_THAT(text, HasSubstr("\n" + name + " "));
}

// As published.
TEST(ListPresets, CountsParameters) {
  std::map<std::string, std::int64_t> counts;
  for (const json& preset : json_of({"list", "presets"})) counts[preset["name"]] = preset["parameters"];
  EXPECT_EQ(counts.at("llama-2-7b"), 6'738'415'616);
  EXPECT_EQ(counts.at("llama-3-8b"), 8'030'261'248);
  EXPECT_EQ(counts.at("tinyllama-1.1b"), 1'100'048'384);
  EXPECT_EQ(counts.at("phi-2"), 2'779'683'840);
  EXPECT_THAT(text_of({"list", "presets"}), HasSubstr(" 6,738,415,616 "));
}

TEST(ListPresets, ConfigurationsCanBeReadBack) {
  for (const json& preset : json_of({"list", "presets"})) {
    const TempDir dir;
    write_file(dir / "config.json", preset["config.json"].dump());
    const Words by_model{"list", "methods", "--model", dir.path().string()};
    const Words by_preset{"list", "methods", "--preset", preset["name"]};
    EXPECT_EQ(json_of(by_model), json_of(by_preset)) << preset["name"];
  }
}

TEST(ListMethods, ShowsOneModelOrTheSmallOnes) {
  EXPECT_EQ(json_of({"list", "methods"}).size(), 5U);
  const json one = json_of({"list", "methods", "--arch", "phi"});
  EXPECT_TRUE(one.is_object());
  const std::string text = text_of({"list", "methods", "--arch", "phi"});
  for (const char* method : {"embed", "prefill", "decode", "batch_prefill", "batch_decode", "batch_verify",
                             "get_logits", "prefill_to_last_hidden_states", "create_paged_kv_cache"})
    EXPECT_THAT(text, HasSubstr(std::string("\n") + method + " "));
  EXPECT_EQ(json_of({"list", "methods", "--preset", small_preset(Architecture::phi)}), one);
}

TEST(ListMethods, FollowsTheChosenType) {
  EXPECT_THAT(text_of({"list", "methods", "--arch", "llama", "--dtype", "f16"}), HasSubstr("float16 "));
  EXPECT_THAT(text_of({"list", "methods", "--arch", "llama", "--dtype", "bf16"}), HasSubstr("bfloat16 "));
  EXPECT_THAT(text_of({"list", "methods", "--model", case_folder("orion")}), HasSubstr("float32 "));
}

TEST(ListTaps, ShowsWhatAnArchitectureHas) {
  EXPECT_EQ(json_of({"list", "taps"}).size(), 5U);
  const json phi = json_of({"list", "taps", "--arch", "phi"});
  EXPECT_EQ(phi["architecture"], "phi");
  Words taps;
  for (const json& tap : phi["taps"]) taps.push_back(tap["tap"]);
  EXPECT_EQ(taps.front(), "embed");
  EXPECT_EQ(taps.back(), "logits");
  EXPECT_EQ(std::count(taps.begin(), taps.end(), "layers.N.mlp.gate"), 0);
  const json llama = json_of({"list", "taps", "--model", case_folder("llama")});
  EXPECT_EQ(llama["num_layers"], 2);
  EXPECT_THAT(text_of({"list", "taps", "--arch", "llama"}), HasSubstr("layers.N.mlp.gate"));
}

}  // namespace
}  // namespace mlbench::test
