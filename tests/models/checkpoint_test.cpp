// Checkpoint folders: files, shards, shapes, types, and tensors too few or too many.
#include "models/checkpoint.h"

#include <cmath>
#include <filesystem>

#include "models/tensor_inventory.h"
#include "tests/models/checkpoint_support.h"

namespace mlbench {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Checkpoint;
using test::expect_same_weights;
using test::find;
using test::minimal;
using test::small_model;
using test::taken;
using test::Tensors;
using test::tensors_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const json kConfig = minimal(Architecture::llama);
Tensors llama_tensors(DType dtype = DType::f32) { return tensors_of(small_model(kConfig), dtype); }
std::string by_layer(const test::StoredTensor& tensor) {
  return tensor.name.find(".1.") != std::string::npos ? "model-00002-of-00002.safetensors"
                                                      : "model-00001-of-00002.safetensors";
}

TEST(Checkpoints, OfEveryArchitectureLoadWhole) {
  for (const auto& [family, config] : test::minimal_configs()) {
    const Model written = small_model(config);
    const Checkpoint checkpoint(config, tensors_of(written, DType::f32));
    const Model model = checkpoint.load(true);
    expect_same_weights(model, written);
    EXPECT_THAT(model.warnings, IsEmpty()) << family;
    EXPECT_EQ(model.origin, checkpoint.folder());
  }
}

TEST(Checkpoints, ShardedOnesLoadAsSingleOnes) {
  expect_same_weights(Checkpoint(kConfig, llama_tensors(), by_layer).load(true), small_model(kConfig));
}

TEST(Checkpoints, ASingleFileIsPreferredToAnIndex) {
  const Checkpoint checkpoint(kConfig, llama_tensors());
  test::write_file(checkpoint / "model.safetensors.index.json", "nonsense");
  EXPECT_NO_THROW((void)checkpoint.load());
}

TEST(Checkpoints, OverridesReplaceFieldsOfTheFile) {
  const Checkpoint checkpoint(kConfig, llama_tensors());
  EXPECT_EQ(load_checkpoint(checkpoint.folder(), {.overrides = {{"rope_theta", 5e5}}}).config.rope.theta, 5e5);
  EXPECT_EQ(read_checkpoint_config(checkpoint.folder()).rope.theta, 1e4);
}

TEST(Checkpoints, TypesMayBeMixedAndDataUnaligned) {
  Tensors tensors = llama_tensors();
  const DType types[] = {DType::bf16, DType::f64, DType::f16, DType::f32};
  for (std::size_t i = 0; i < tensors.size(); ++i) tensors[i].dtype = types[i % 4];
  for (auto& tensor : tensors) {
    for (double& value : tensor.values) value = std::round(value * 16.0) / 16.0;  // exact in each type
  }
  // A header whose length leaves every tensor at an odd address.
  const std::string bytes = test::safetensors_bytes(tensors);
  const std::size_t length = static_cast<unsigned char>(bytes[0]) + 256U * static_cast<unsigned char>(bytes[1]);
  std::string header = bytes.substr(8, length);
  if ((8 + header.size()) % 2 == 0) header += ' ';
  const Checkpoint checkpoint(kConfig, {});
  test::write_file(checkpoint / "model.safetensors", test::safetensors_bytes(header, bytes.substr(8 + length)));
  const Model model = checkpoint.load(true);
  for (const auto& tensor : tensors) {
    const WeightView& view = model.weights->get(tensor.name);
    EXPECT_EQ(view.dtype, tensor.dtype);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.data) % 2, 1U);
    EXPECT_EQ(view.widened(), tensor.values) << tensor.name;
  }
}

TEST(Checkpoints, RowsAndSlicesOfAWeightAreItsOwn) {
  const Model model = Checkpoint(kConfig, llama_tensors()).load();
  const WeightView& whole = model.weights->get("model.layers.0.mlp.up_proj.weight");
  EXPECT_EQ(whole.rows, 96);
  EXPECT_EQ(whole.cols, 64);
  const std::vector<double> all = whole.widened();
  std::vector<double> row(64);
  whole.widen_row(5, row);
  EXPECT_EQ(row, std::vector<double>(all.begin() + 5 * 64, all.begin() + 6 * 64));
  EXPECT_EQ(whole.slice(4, 3).widened(), std::vector<double>(all.begin() + 4 * 64, all.begin() + 7 * 64));
  const WeightView& norm = model.weights->get("model.norm.weight");
  EXPECT_EQ(norm.rows, 1);
  EXPECT_EQ(norm.cols, 64);
}

TEST(Checkpoints, AFolderMustHoldOne) {
  test::TempDir dir;
  const auto code = [&](const std::string& folder) {
    const Error error = test::error_of([&] { (void)load_checkpoint(folder); });
    EXPECT_EQ(error.kind(), ErrorKind::request);
    EXPECT_THAT(error.message(), HasSubstr(folder));
    return error.code();
  };
  EXPECT_EQ(code(dir / "none"), "checkpoint.missing");
  test::write_file(dir / "file", "x");
  EXPECT_EQ(code(dir / "file"), "checkpoint.missing");
  EXPECT_EQ(code(dir.path().string()), "file.missing") << "no config.json";
  test::write_file(dir / "config.json", kConfig.dump());
  EXPECT_EQ(code(dir.path().string()), "checkpoint.missing") << "no weights";
  fs::create_directory(dir / "model.safetensors");
  EXPECT_EQ(code(dir.path().string()), "file.not_a_file");
}

TEST(Checkpoints, PickledWeightsAreRefusedByName) {
  for (const char* file : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    const Checkpoint checkpoint(kConfig, {});
    fs::remove(checkpoint / "model.safetensors");
    test::write_file(checkpoint / file, "x");
    const Error error = checkpoint.refused();
    EXPECT_EQ(error.code(), "checkpoint.unsupported");
    EXPECT_THAT(error.message(), HasSubstr(file));
  }
}

TEST(Checkpoints, AMissingTensorIsNamedWithItsShape) {
  for (const char* name : {"model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight", "model.norm.weight"}) {
    Tensors tensors = llama_tensors();
    (void)taken(tensors, name);
    const Error error = Checkpoint(kConfig, tensors).refused();
    EXPECT_EQ(error.code(), "weights.missing");
    EXPECT_THAT(error.message(), HasSubstr(name));
  }
  Tensors tensors = llama_tensors();
  (void)taken(tensors, "model.layers.0.mlp.down_proj.weight");
  EXPECT_THAT(Checkpoint(kConfig, tensors).refused().message(), HasSubstr("[64, 96]"));
}

TEST(Checkpoints, AWrongShapeIsNamedWithBothShapes) {
  const std::pair<const char*, Shape> cases[] = {
      {"model.layers.0.mlp.down_proj.weight", {96, 64}},     // transposed
      {"model.layers.0.mlp.down_proj.weight", {64 * 96}},    // flattened
      {"model.layers.0.mlp.down_proj.weight", {1, 64, 96}},  // an axis more
      {"model.norm.weight", {1, 64}},
  };
  for (const auto& [name, shape] : cases) {
    Tensors tensors = llama_tensors();
    find(tensors, name).shape = shape;
    const Error error = Checkpoint(kConfig, tensors).refused();
    EXPECT_EQ(error.code(), "weights.shape");
    EXPECT_THAT(error.message(), HasSubstr(name));
    EXPECT_THAT(error.message(), HasSubstr(to_string(shape)));
  }
}

TEST(Checkpoints, TheVocabularyMustBeTheFilesRows) {
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
    Tensors tensors = llama_tensors();
    auto& tensor = find(tensors, name);
    tensor.shape[0] += 1;
    tensor.values.resize(tensor.values.size() + 64);
    EXPECT_EQ(Checkpoint(kConfig, tensors).refused().code(), "weights.shape");
  }
}

TEST(Checkpoints, IntegersAreNoWeights) {
  const Checkpoint checkpoint(kConfig, llama_tensors());
  std::string bytes = test::read_file(checkpoint / "model.safetensors");
  const auto at = bytes.find("\"F32\"");
  bytes.replace(at, 5, "\"I32\"");  // of the first tensor
  test::write_file(checkpoint / "model.safetensors", bytes);
  const Error error = checkpoint.refused();
  EXPECT_EQ(error.code(), "weights.dtype");
  EXPECT_THAT(error.message(), HasSubstr("I32"));
}

TEST(Checkpoints, AnUnusedTensorIsAWarningAndAnErrorWhenStrict) {
  Tensors tensors = llama_tensors();
  tensors.push_back({"model.layers.0.self_attn.q_proj.bias", {64}, DType::f32, std::vector<double>(64, 1.0)});
  tensors.push_back({"model.layers.2.mlp.up_proj.weight", {1}, DType::f32, {1.0}});  // beyond the last layer
  const Checkpoint checkpoint(kConfig, tensors);
  const Model model = checkpoint.load();
  EXPECT_THAT(model.warnings, ElementsAre(HasSubstr("weights.unexpected")));
  EXPECT_THAT(model.warnings[0], HasSubstr("q_proj.bias"));
  EXPECT_EQ(checkpoint.refused(true).code(), "weights.unexpected");
}

TEST(Checkpoints, OldBuffersAreNoUnusedTensors) {
  Tensors tensors = llama_tensors();
  tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", {8}, DType::f32, std::vector<double>(8, 1.0)});
  EXPECT_THAT(Checkpoint(kConfig, tensors).load(true).warnings, IsEmpty());

  const json bigcode = minimal(Architecture::gpt_bigcode);
  Tensors more = tensors_of(small_model(bigcode), DType::f32);
  for (const char* name : {"transformer.bias", "transformer.h.1.attn.bias", "transformer.h.1.attn.masked_bias"}) {
    more.push_back({name, {1}, DType::f32, {1.0}});
  }
  EXPECT_THAT(Checkpoint(bigcode, more).load(true).warnings, IsEmpty());
}

TEST(Shards, AMissingOneIsNamed) {
  const Checkpoint checkpoint(kConfig, llama_tensors(), by_layer);
  fs::remove(checkpoint / "model-00002-of-00002.safetensors");
  const Error error = checkpoint.refused();
  EXPECT_EQ(error.code(), "file.missing");
  EXPECT_THAT(error.message(), HasSubstr("model-00002-of-00002.safetensors"));
}

TEST(Shards, ATruncatedOneIsNamed) {
  const Checkpoint checkpoint(kConfig, llama_tensors(), by_layer);
  const std::string path = checkpoint / "model-00001-of-00002.safetensors";
  fs::resize_file(path, fs::file_size(path) - 1);
  const Error error = checkpoint.refused();
  EXPECT_EQ(error.code(), "checkpoint.truncated");
  EXPECT_THAT(error.message(), HasSubstr("model-00001-of-00002.safetensors"));
}

TEST(Shards, MustLieInTheFolder) {
  const std::string outside[] = {"../x.safetensors",    "/etc/passwd", "sub/x.safetensors", "..", ".", "", "x/",
                                 std::string("a\0b", 3)};
  for (const std::string& path : outside) {
    const Checkpoint checkpoint(kConfig, llama_tensors(), by_layer, {{"model.norm.weight", path}});
    EXPECT_EQ(checkpoint.refused().code(), "checkpoint.format") << path;
  }
  for (const json& wrong : {json(3), json(nullptr), json::array({"x"})}) {
    const Checkpoint checkpoint(kConfig, llama_tensors(), by_layer, {{"model.norm.weight", wrong}});
    EXPECT_EQ(checkpoint.refused().code(), "checkpoint.format") << wrong;
  }
}

TEST(Shards, ATensorMayStandInOne) {
  const Checkpoint checkpoint(kConfig, llama_tensors(), by_layer);
  Tensors second = llama_tensors();
  std::erase_if(second, [](const auto& tensor) {
    return by_layer(tensor).find("model-00002") == std::string::npos && tensor.name != "model.norm.weight";
  });
  test::write_file(checkpoint / "model-00002-of-00002.safetensors", test::safetensors_bytes(second));
  const Error error = checkpoint.refused();
  EXPECT_EQ(error.code(), "checkpoint.format");
  EXPECT_THAT(error.message(), HasSubstr("model.norm.weight"));
}

TEST(Shards, TheIndexIsChecked) {
  for (const char* index : {"nonsense", "[]", "{}", R"({"weight_map": []})", R"({"weight_map": {}})",
                            R"({"weight_map": {"a": "x", "a": "x"}})", R"({"weight_map": null})"}) {
    const Checkpoint checkpoint(kConfig, llama_tensors(), by_layer);
    test::write_file(checkpoint / "model.safetensors.index.json", index);
    EXPECT_EQ(checkpoint.refused().code(), "checkpoint.format") << index;
  }
}

TEST(Shards, AnIndexMayListALmHeadThatIsNotThere) {
  const json config = test::changed(kConfig, {{"tie_word_embeddings", true}});
  const json listed = {{"lm_head.weight", "model-00001-of-00002.safetensors"}};
  const Checkpoint tied(config, tensors_of(small_model(config), DType::f32), by_layer, listed);
  EXPECT_THAT(tied.load(true).warnings, IsEmpty());

  Tensors untied = llama_tensors();
  (void)taken(untied, "lm_head.weight");
  const Error error = Checkpoint(kConfig, untied, by_layer, listed).refused();
  EXPECT_EQ(error.code(), "weights.missing");
  EXPECT_THAT(error.message(), HasSubstr("lm_head.weight"));
  EXPECT_THAT(error.message(), HasSubstr("model-00001-of-00002.safetensors"));
}

}  // namespace
}  // namespace mlbench
