// Files that are no golden of this model: one line that names the file, exit code 2.
#include <sys/stat.h>

#include <cmath>
#include <filesystem>

#include <gmock/gmock.h>

#include "tests/cli/case_copy.h"
#include "tests/support/hdf5_edit.h"

namespace mlbench::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

Outcome verify_with(const std::string& golden, const std::string& model = case_folder("olmo")) {
  return run_program(verify_arguments(model, golden));
}

TEST(BadGolden, CutAtAnyLength) {
  const std::string whole = read_file(case_folder("olmo") + "/oracle.h5");
  const TempDir dir;
  const std::string cut = dir / "cut.h5";
  for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{8}, std::size_t{9}, std::size_t{40},
                                   std::size_t{95}, std::size_t{96}, std::size_t{512}, std::size_t{2048},
                                   std::size_t{100'000}, whole.size() / 2, whole.size() - 4096, whole.size() - 1}) {
    SCOPED_TRACE(length);
    write_file(cut, whole.substr(0, length));
    expect_refused(verify_with(cut), cut);
  }
}

TEST(BadGolden, ForeignFile) {
  const TempDir dir;
  const std::pair<const char*, std::string> files[] = {
      {"notes.txt", "these are\nmy notes\n"},
      {"picture.h5", std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16) + std::string(1000, '\x7f')},
      {"signature.h5", std::string("\x89HDF\r\n\x1a\n", 8) + std::string(4096, '\0')},
      {"zeros.h5", std::string(10000, '\0')},
      {"ones.h5", std::string("\x89HDF\r\n\x1a\n", 8) + std::string(4096, '\xff')},
      {"weights.h5", read_file(case_folder("olmo") + "/model.safetensors")},
  };
  for (const auto& [name, bytes] : files) {
    SCOPED_TRACE(name);
    write_file(dir / name, bytes);
    expect_refused(verify_with(dir / name), dir / name);
  }
}

TEST(BadGolden, Hdf5WithoutResults) {
  const TempDir dir;
  const std::string empty = dir / "empty.h5";
  write_dataset(empty, "/x", {1}, std::vector<double>{1.0});
  remove_dataset(empty, "/x");
  expect_refused(verify_with(empty), empty);
  const std::string inputs = dir / "inputs.h5";
  write_dataset(inputs, "/inputs/prompt_ids", {1, 2}, std::vector<std::int64_t>{1, 2});
  expect_refused(verify_with(inputs), inputs);
}

// Other people's datasets are results that nothing can be compared with: a failed run, not a wrong request.
TEST(BadGolden, Hdf5WithOtherDatasetsFailsAndListsThem) {
  const TempDir dir;
  const std::string other = dir / "other.h5";
  write_dataset(other, "/images/train", {2, 2}, std::vector<double>{1, 2, 3, 4});
  write_dataset(other, "/labels", {2}, std::vector<std::int64_t>{1, 2});
  const Outcome run = verify_with(other);
  EXPECT_EQ(run.exit_code, 1) << run.err;
  EXPECT_THAT(run.out, HasSubstr("not compared: \"/images/train\": "));
  EXPECT_THAT(run.out, HasSubstr("not compared: \"/labels\": "));
  EXPECT_EQ(run.err, "");
}

TEST(BadGolden, NotAFile) {
  const TempDir dir;
  const std::string fifo = dir / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  fs::create_symlink("nowhere", dir / "dangling");
  fs::create_symlink("loop", dir / "loop");
  for (const std::string& path :
       {dir.path().string(), dir / "missing.h5", dir / "no/such/folder.h5", fifo, dir / "dangling", dir / "loop",
        std::string("/dev/null"), std::string("/dev/zero"), case_folder("olmo") + "/oracle.h5/oracle.h5"}) {
    SCOPED_TRACE(path);
    expect_refused(verify_with(path), path);
  }
}

TEST(BadGolden, OfAnotherArchitecture) {
  for (const char* name : kCases) {
    if (std::string(name) == "olmo") continue;
    const std::string other = case_folder(name) + "/oracle.h5";
    const Outcome run = verify_with(other);
    expect_refused(run, other);
    EXPECT_THAT(run.err, HasSubstr("golden.model: "));
    EXPECT_THAT(run.err, HasSubstr("OlmoForCausalLM"));
    // Without a word of its own the shapes, or the names, tell.
    const CaseCopy unnamed(name);
    remove_attribute(unnamed.golden(), "architecture");
    const Outcome untold = verify_with(unnamed.golden());
    EXPECT_NE(untold.exit_code, 0);
    EXPECT_LE(untold.exit_code, 2);
  }
}

TEST(BadGolden, OfTheSameArchitectureInOtherSizes) {
  const CaseCopy model("olmo");
  const std::string own = model.golden();
  const Outcome run = run_program({"verify", "--arch", "olmo", "--backend", "reference", "--golden", own});
  expect_refused(run, own);
}

TEST(BadGolden, ShapesThatTheModelDoesNotGive) {
  const struct {
    const char* dataset;
    Shape shape;
  } changes[] = {
      {"/prefill/model.layers.0.mlp.gate_proj", {2, 9, 131}},
      {"/prefill/model.layers.0.mlp.gate_proj", {2, 8, 130}},
      {"/prefill/model.layers.0.mlp.gate_proj", {3, 9, 130}},
      {"/prefill/model.layers.0.mlp.gate_proj", {130}},
      {"/prefill/model.layers.0.mlp.gate_proj", {}},
      {"/prefill/model.layers.0.mlp.gate_proj", {0}},
      {"/prefill/model.layers.0.mlp.gate_proj", {2, 0, 130}},
      {"/prefill/model.layers.0.self_attn.q_rope", {2, 9, 72}},
      {"/prefill/model.layers.0.self_attn.q_rope", {2, 6, 12, 9}},
      {"/prefill/model.layers.0.self_attn.attn_probs", {2, 6, 9, 10}},
      {"/decode/1/lm_head", {2, 2, 121}},
      {"/batch_prefill/lm_head", {75, 121}},
      {"/batch_prefill_logits", {3, 121}},
      {"/batch_decode/0/model.norm", {4, 71}},
      {"/tree/lm_head", {11, 121}},
      {"/after_commit/1/lm_head", {2, 121}},
      {"/prefill/model.layers.0.mlp.gate_proj", {1, 1, 1, 1, 1, 1, 1, 2340}},
  };
  for (const auto& [dataset, shape] : changes) {
    SCOPED_TRACE(dataset + to_string(shape));
    const CaseCopy model("llama");
    remove_dataset(model.golden(), dataset);
    write_dataset(model.golden(), dataset, shape,
                  std::vector<double>(static_cast<std::size_t>(element_count(shape)), 1.0));
    const Outcome run = verify_with(model.golden(), model.folder());
    expect_refused(run, model.golden());
    EXPECT_THAT(run.err, HasSubstr(dataset));
  }
}

// Two names for the same values where the model gives two different shapes.
TEST(BadGolden, OneDatasetInTwoPlacesOfDifferentShapes) {
  const CaseCopy model("llama");
  const std::string m = "/prefill/model.layers.0.self_attn.";
  remove_dataset(model.golden(), m + "k_proj");
  add_hard_link(model.golden(), m + "q_proj", m + "k_proj");
  const Outcome run = verify_with(model.golden(), model.folder());
  expect_refused(run, model.golden());
  EXPECT_THAT(run.err, HasSubstr(m + "k_proj"));
}

TEST(BadModel, Missing) {
  const TempDir dir;
  const std::string golden = case_folder("olmo") + "/oracle.h5";
  expect_refused(verify_with(golden, dir / "nothing"), dir / "nothing");
  expect_refused(verify_with(golden, dir.path().string()), dir.path().string());
  expect_refused(verify_with(golden, golden), golden);
  for (const char* file : {"config.json", "model.safetensors"}) {
    const CaseCopy model("olmo");
    fs::remove(model.folder() + "/" + file);
    expect_refused(verify_with(model.golden(), model.folder()), model.folder());
  }
}

TEST(BadModel, WithWeightsThatAreNotNumbersFailsWhereTheyEnter) {
  const CaseCopy untouched("olmo");
  for (const float value : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    CaseCopy model("olmo");
    model.set_weight("model.layers.1.self_attn.k_proj.weight", 60 * 7 + 1, value);
    const Verified run = verify(model);
    expect_first_failure(run, {"prefill", "prefill", "layers.1.attn.k_proj", 1, 0, 0, "[7]"});
    EXPECT_EQ(run.report["first_failure"]["worst"]["computed"], nlohmann::json());
    EXPECT_THAT(last_line(run.text), HasSubstr("error not finite > limit "));
  }
}

}  // namespace
}  // namespace mlbench::test
