// The exporter for Hugging Face transformers: what of it runs without torch. Needs Python with h5py, which nothing else
// does (Debian's package python3-h5py): skipped where it is missing.
#include <algorithm>
#include <filesystem>
#include <functional>
#include <limits>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/golden/shell.h"
#include "tests/support/hdf5_edit.h"
#include "tests/support/temp_dir.h"

namespace mlbench::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const std::string kScript = std::string(MLBENCH_SOURCE_DIR) + "/golden/export_hf.py";

std::string case_file(const std::string& name) {
  return fmt::format("{}/schedules-{}/oracle.h5", MLBENCH_TEST_DATA, name);
}

class ExportHf : public ::testing::Test {
 protected:
  void SetUp() override {
    if (python_.empty()) GTEST_SKIP() << "no Python with h5py (package python3-h5py)";
  }

  [[nodiscard]] Outcome run(const std::string& arguments) const {
    return shell(fmt::format("PYTHONDONTWRITEBYTECODE=1 {} '{}' {}", python_, kScript, arguments));
  }

  const std::string python_ = python_with_h5py();
  TempDir dir_;
};

TEST_F(ExportHf, CheckTakesEveryCaseThatTransformersComputed) {
  for (const char* name : {"llama", "orion", "olmo", "phi", "gptbigcode"}) {
    const Outcome checked = run(fmt::format("--check '{}'", case_file(name)));
    EXPECT_EQ(checked.exit_code, 0) << checked.out << checked.err;
    EXPECT_THAT(checked.out, HasSubstr("as mlbench reads it"));
  }
}

TEST_F(ExportHf, CheckNamesWhatIsWrong) {
  const std::string file = dir_ / "golden.h5";
  using Integers = std::vector<std::int64_t>;
  const std::vector<double> reals(6);
  const struct {
    std::function<void()> damage;
    const char* said;
  } cases[] = {
      {[&] { remove_dataset(file, "/inputs/decode_ids"); }, "/inputs/decode_ids is missing"},
      {[&] { remove_dataset(file, "/inputs/prompt_ids"); }, "/inputs/prompt_ids is missing"},
      {[&] { remove_dataset(file, "/inputs/ragged_lengths"); }, "/inputs/ragged_lengths is missing"},
      {[&] { write_dataset(file, "/prefill/model.layers.0.mlp.x", {6}, reals); }, "model.layers.0.mlp.x: no value"},
      {[&] {
         write_dataset(file, "/prefill/model.layers.0", {2, 3}, reals);
       },
       "/prefill/model.layers.0: has shape"},
      {[&] {
         write_dataset(file, "/tree/model.layers.7", {2, 3}, reals);
       },
       "/tree/model.layers.7: has shape"},
      {[&] {
         write_dataset(file, "/decode/7/lm_head", {2, 3}, reals);
       },
       "/decode/7: must be a step below 2"},
      {[&] {
         write_dataset(file, "/prefill/model.layers.9", {2, 3}, Integers(6));
       },
       "must be float64"},
      {[&] { write_dataset(file, "/inputs/chunks", {1}, reals); }, "/inputs/chunks: must be integers"},
      {[&] {
         write_dataset(file, "/elsewhere/lm_head", {2, 3}, reals);
       },
       "/elsewhere: not known"},
      {[&] { set_element(file, "/prefill/lm_head", 5, std::numeric_limits<double>::infinity()); }, "not finite"},
      {[&] { write_attribute(file, "architecture", "BertModel"); }, "BertModel"},
  };
  for (const auto& c : cases) {
    fs::copy_file(case_file("phi"), file, fs::copy_options::overwrite_existing);
    for (const char* replaced : {"/prefill/model.layers.0", "/inputs/chunks"}) {
      if (std::string(c.said).find(replaced) == 0) remove_dataset(file, replaced);
    }
    c.damage();
    const Outcome checked = run(fmt::format("--check '{}'", file));
    EXPECT_EQ(checked.exit_code, 1) << c.said;
    EXPECT_THAT(checked.out, HasSubstr(c.said));
    EXPECT_THAT(checked.out, HasSubstr(file));
  }
}

TEST_F(ExportHf, CheckOfWhatIsNoHdf5IsOneLine) {
  write_file(dir_ / "text", "no HDF5");
  for (const std::string& path : {dir_ / "text", dir_ / "missing"}) {
    const Outcome checked = run(fmt::format("--check '{}'", path));
    EXPECT_EQ(checked.exit_code, 1);
    EXPECT_THAT(checked.err, HasSubstr("export_hf.py: " + path));
    EXPECT_EQ(std::ranges::count(checked.err, '\n'), 1) << checked.err;
  }
}

// The part that writes, given what a case holds, writes that case again.
TEST_F(ExportHf, WritesTheLayoutThatItWasGiven) {
  write_file(dir_ / "again.py", R"(import sys
sys.path.insert(0, sys.argv[1])
import export_hf, h5py
with h5py.File(sys.argv[2]) as f:
    groups = {}
    for group, member in f.items():
        if group in ("inputs", "rope"):
            continue
        if isinstance(member, h5py.Dataset):
            groups[group] = member[()]
        elif group in ("decode", "batch_decode", "after_commit"):
            for step, values in member.items():
                groups[f"{group}/{step}"] = {name: value[()] for name, value in values.items()}
        else:
            groups[group] = {name: value[()] for name, value in member.items()}
    attributes = {n: v.decode() if isinstance(v, bytes) else v for n, v in f.attrs.items()}
    export_hf.write_golden(sys.argv[3], {n: d[()] for n, d in f["inputs"].items()},
                           {n: d[()] for n, d in f.get("rope", {}).items()}, groups, attributes)
)");
  for (const char* name : {"llama", "gptbigcode"}) {
    const std::string written = dir_ / "written.h5";
    const Outcome again =
        shell(fmt::format("PYTHONDONTWRITEBYTECODE=1 {} '{}' '{}' '{}' '{}'", python_, dir_ / "again.py",
                          fs::path(kScript).parent_path().string(), case_file(name), written));
    ASSERT_EQ(again.exit_code, 0) << again.err;
    EXPECT_EQ(run(fmt::format("--check '{}'", written)).exit_code, 0);
    const Outcome diff = run_program({"golden", "diff", case_file(name), written});
    EXPECT_EQ(diff.exit_code, 0) << diff.out << diff.err;
    EXPECT_EQ(diff.out.find("attribute"), std::string::npos) << diff.out;
    EXPECT_LT(fs::file_size(written), 2 * fs::file_size(case_file(name)));  // second names are links
  }
}

TEST_F(ExportHf, SaysWhatIsMissingOrMistyped) {
  EXPECT_THAT(run("--help").out, HasSubstr("examples:"));
  const std::pair<const char*, const char*> lines[] = {{"", "--model FOLDER and --out FILE are needed"},
                                                       {"--model x --out y --ragged 3,x", "whole numbers"},
                                                       {"--model x --out y --ragged 3,0", "must be >= 1"},
                                                       {"--model x --out y --prompt-length -3", "--prompt-length"},
                                                       {"--model x --out y --batch 1,2", "must be one number"}};
  for (const auto& [line, said] : lines) {
    const Outcome wrong = run(line);
    EXPECT_EQ(wrong.exit_code, 2) << line;
    EXPECT_THAT(wrong.err, HasSubstr(said));
  }
  const Outcome nothing = run("--model '" + dir_.path().string() + "' --out '" + (dir_ / "out.h5") + "'");
  EXPECT_EQ(nothing.exit_code, 1);  // no torch, or no config.json: whichever is found first
  EXPECT_EQ(std::ranges::count(nothing.err, '\n'), 1) << nothing.err;
  EXPECT_FALSE(fs::exists(dir_ / "out.h5"));
}

}  // namespace
}  // namespace mlbench::test
