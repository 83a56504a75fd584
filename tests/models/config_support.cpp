#include "tests/models/config_support.h"

#include "models/config_reader.h"

namespace mlbench::test {

using nlohmann::json;

json minimal(Architecture architecture) {
  json config = {{"model_type", name(architecture)}, {"vocab_size", 100},      {"hidden_size", 64},
                 {"intermediate_size", 96},          {"num_hidden_layers", 2}, {"num_attention_heads", 4},
                 {"max_position_embeddings", 128}};
  switch (architecture) {
    case Architecture::llama:
    case Architecture::orion: config["rms_norm_eps"] = 1e-5; break;
    case Architecture::olmo: break;
    case Architecture::phi: config["layer_norm_eps"] = 1e-5; break;
    case Architecture::gpt_bigcode:
      config = {{"model_type", "gpt_bigcode"},
                {"vocab_size", 100},
                {"n_embd", 64},
                {"n_inner", 96},
                {"n_layer", 2},
                {"n_head", 4},
                {"n_positions", 128},
                {"layer_norm_epsilon", 1e-5}};
      break;
  }
  return config;
}

json minimal_msft() {
  return {{"model_type", "phi-msft"},
          {"vocab_size", 100},
          {"n_embd", 64},
          {"n_inner", 96},
          {"n_layer", 2},
          {"n_head", 4},
          {"n_positions", 128},
          {"rotary_dim", 8},
          {"layer_norm_epsilon", 1e-5}};
}

std::vector<NamedConfig> minimal_configs() {
  std::vector<NamedConfig> all;
  for (const Architecture architecture : kArchitectures) {
    all.push_back({std::string(name(architecture)), minimal(architecture)});
  }
  all.push_back({"phi-msft", minimal_msft()});
  return all;
}

json changed(json config, const json& changes) {
  for (const auto& [field, value] : changes.items()) {
    if (value == "-") {
      config.erase(field);
    } else {
      config[field] = value;
    }
  }
  return config;
}

ModelConfig read(const json& config) { return parse_config(config.dump(), "config.json"); }

Error refused_text(const std::string& text) {
  Error error = error_of([&] { (void)parse_config(text, "config.json"); });
  EXPECT_EQ(error.kind(), ErrorKind::request) << text;
  EXPECT_THAT(error.message(), ::testing::StartsWith("config.json: ")) << text;
  return error;
}

Error refused(const json& config) { return refused_text(config.dump()); }

void expect_refused(const json& config, const Refusal& refusal) {
  SCOPED_TRACE(refusal.changes.dump());
  const Error error = refused(changed(config, refusal.changes));
  EXPECT_EQ(error.code(), refusal.code) << error.message();
  EXPECT_THAT(error.message(), ::testing::HasSubstr(refusal.named));
}

}  // namespace mlbench::test
