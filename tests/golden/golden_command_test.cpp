// mlbench golden, as users and programs run it.
#include <algorithm>
#include <filesystem>
#include <limits>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/golden/example_golden.h"
#include "tests/golden/shell.h"
#include "tests/support/command.h"
#include "tests/support/hdf5_edit.h"
#include "tests/support/temp_dir.h"

namespace mlbench::test {
namespace {

using nlohmann::json;
using ::testing::ContainsRegex;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Words = std::vector<std::string>;

Outcome golden(Words words) {
  words.insert(words.begin(), "golden");
  return run_program(words);
}

void expect_refused(const Outcome& run, const std::string& code, const std::string& said) {
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, StartsWith("mlbench: " + code + ": "));
  EXPECT_THAT(run.err, HasSubstr(said));
  EXPECT_EQ(std::ranges::count(run.err, '\n'), 1) << run.err;
}

json parsed(const Outcome& run) {
  json value = json::parse(run.out, nullptr, false);
  EXPECT_FALSE(value.is_discarded()) << run.out;
  return value;
}

class GoldenCommand : public ::testing::Test {
 protected:
  GoldenCommand() {
    write_example_golden(a_);
    write_example_golden(b_);
  }

  TempDir dir_;
  std::string a_ = dir_ / "a.h5", b_ = dir_ / "b.h5";
  const std::string hf_ = std::string(MLBENCH_TEST_DATA) + "/schedules-phi/oracle.h5";
};

// ---- check ----

TEST_F(GoldenCommand, CheckVerifiesEveryDigest) {
  const Outcome run = golden({"check", a_});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("2 steps, 9 datasets"));
  for (const char* dataset :
       {"/steps/000/taps/layers.0.attn.q", "/steps/000/limits/logits", "/steps/001/taps/logits"}) {
    write_example_golden(a_);
    add_to_element(a_, dataset, 1, 1e-12);
    expect_refused(golden({"check", a_}), "golden.digest", dataset);
  }
}

TEST_F(GoldenCommand, CheckOfHuggingFacesLayoutSaysThatThereAreNoDigests) {
  const Outcome run = golden({"check", hf_});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("has no digests"));
  std::filesystem::copy_file(hf_, dir_ / "hf.h5");
  remove_dataset(dir_ / "hf.h5", "/inputs/decode_ids");
  expect_refused(golden({"check", dir_ / "hf.h5"}), "golden.format", "/inputs/decode_ids");
}

TEST_F(GoldenCommand, RefusesWhatIsNoGolden) {
  write_file(dir_ / "text", "no HDF5");
  write_file(dir_ / "cut.h5", read_file(a_).substr(0, 2000));
  write_dataset(dir_ / "foreign.h5", "/x", {1}, std::vector<std::int64_t>{1});
  write_attribute(b_, "format_version", "2");
  for (const char* command : {"check", "info"}) {
    expect_refused(golden({command, dir_ / "text"}), "golden.corrupt", dir_ / "text");
    expect_refused(golden({command, dir_ / "cut.h5"}), "golden.corrupt", dir_ / "cut.h5");
    expect_refused(golden({command, dir_ / "foreign.h5"}), "golden.format", dir_ / "foreign.h5");
    expect_refused(golden({command, dir_ / "missing"}), "file.missing", dir_ / "missing");
    expect_refused(golden({command, b_}), "golden.version", "format_version 2");
    expect_refused(golden({command}), "usage", "FILE");
  }
}

// ---- diff ----

TEST_F(GoldenCommand, DiffOfEqualFilesIsZero) {
  const Outcome run = golden({"diff", a_, b_});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, "9 of 9 datasets are equal bit for bit, 0 differ\n");
  EXPECT_EQ(golden({"diff", hf_, hf_}).exit_code, 0);
}

TEST_F(GoldenCommand, DiffIsOneBeyondTheLimitAndZeroWithin) {
  add_to_element(b_, "/steps/001/taps/logits", 0, 1e-6);
  const Outcome plain = golden({"diff", a_, b_});
  EXPECT_EQ(plain.exit_code, 1);
  EXPECT_THAT(plain.out, ContainsRegex("/steps/001/taps/logits +values +1e-06"));
  EXPECT_THAT(plain.out, EndsWith("\n8 of 9 datasets are equal bit for bit, 1 differ\n"));
  EXPECT_EQ(golden({"diff", a_, b_, "--rtol", "1e-7"}).exit_code, 1);
  const Outcome within = golden({"diff", a_, b_, "--rtol", "1e-5"});
  EXPECT_EQ(within.exit_code, 0);
  EXPECT_EQ(within.out, "8 of 9 datasets are equal bit for bit, 1 more within 1e-05 * max|A|, 0 differ\n");
}

TEST_F(GoldenCommand, DiffListsAttributesThatDiffer) {
  set_attribute_of(b_, "/", "dtype", "f16");
  const Outcome run = golden({"diff", a_, b_});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.out, ContainsRegex("dtype +bf16 +f16"));
}

TEST_F(GoldenCommand, DiffOfManyDatasetsStaysShort) {
  for (int i = 0; i < 100; ++i) {
    write_dataset(a_, "/x" + std::to_string(i), {1}, std::vector<double>{1.0});
    write_dataset(b_, "/x" + std::to_string(i), {1}, std::vector<double>{2.0 + i});
  }
  const Outcome run = golden({"diff", a_, b_});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_LT(std::ranges::count(run.out, '\n'), 30);
  EXPECT_THAT(run.out, ContainsRegex("^dataset[^\n]*\n/x99 "));  // the worst first
  EXPECT_THAT(run.out, HasSubstr("and 80 more datasets"));
  EXPECT_EQ(parsed(golden({"diff", a_, b_, "--json"})).at("differences").size(), 100U);
}

TEST_F(GoldenCommand, DiffAsJsonSaysTheSame) {
  add_to_element(b_, "/steps/001/taps/logits", 0, 1e-6);
  set_element(b_, "/steps/000/taps/embed", 0, std::numeric_limits<double>::quiet_NaN());
  remove_dataset(b_, "/steps/000/taps/logits");
  const Outcome run = golden({"diff", a_, b_, "--json"});
  EXPECT_EQ(run.exit_code, 1);
  const json value = parsed(run);
  EXPECT_EQ(value.at("equal"), false);
  EXPECT_EQ(value.at("rtol"), nullptr);
  EXPECT_EQ(value.at("datasets").at("total"), 9);
  EXPECT_EQ(value.at("datasets").at("equal"), 6);
  const json& differences = value.at("differences");
  ASSERT_EQ(differences.size(), 3U);
  EXPECT_EQ(differences[0].at("difference"), "only in A");
  EXPECT_EQ(differences[1].at("dataset"), "/steps/000/taps/embed");
  EXPECT_EQ(differences[1].at("ratio"), nullptr);                               // not finite
  EXPECT_NEAR(differences[2].at("max_difference").get<double>(), 1e-6, 1e-15);  // rounding of a sum near 1
}

TEST_F(GoldenCommand, DiffRefusesLimitsThatAreNone) {
  for (const char* rtol : {"-1", "nan", "inf"}) {
    const Outcome run = golden({"diff", a_, b_, std::string("--rtol=") + rtol});
    expect_refused(run, "usage", "--rtol");
  }
  expect_refused(golden({"diff", a_}), "usage", "B");
  expect_refused(golden({"diff", a_, dir_ / "missing"}), "file.missing", "missing");
}

// ---- info ----

TEST_F(GoldenCommand, InfoShowsHowAGoldenWasMadeAndWhatItHolds) {
  const Outcome run = golden({"info", a_});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  for (const char* said : {"golden of mlbench", "LlamaForCausalLM", "synthetic, seed 7", "two prompts", "batch_decode",
                           "layers.N.attn.q", "[2, 5, 4]"})
    EXPECT_THAT(run.out, HasSubstr(said));
  const json value = parsed(golden({"info", a_, "--json"}));
  EXPECT_EQ(value.at("layout"), "mlbench");
  EXPECT_EQ(value.at("seed"), 7);
  EXPECT_EQ(value.at("config").at("hidden_size"), 8);
  EXPECT_EQ(value.at("bytes"), 8 * (5 + 5 + 40 + 40 + 55 + 5 + 2 + 2 + 22));
  EXPECT_GT(value.at("stored_bytes"), 0);
  const json& steps = value.at("steps");
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[0].at("taps").size(), 3U);
  EXPECT_EQ(steps[0].at("taps")[1].at("tap"), "layers.0.attn.q");
  EXPECT_EQ(steps[0].at("taps")[1].at("shape"), json({2, 5, 4}));
}

TEST_F(GoldenCommand, InfoTellsOfHuggingFacesLayout) {
  const Outcome run = golden({"info", hf_});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  for (const char* said : {"Hugging Face", "PhiForCausalLM", "/inputs/tree_leaf", "batch_decode/1", "layers.N.mlp.up"})
    EXPECT_THAT(run.out, HasSubstr(said));
  const json value = parsed(golden({"info", hf_, "--json"}));
  EXPECT_EQ(value.at("layout"), "huggingface");
  EXPECT_EQ(value.at("attributes").at("architecture"), "PhiForCausalLM");
  EXPECT_TRUE(value.at("unmapped").empty());
}

// A file's texts do not reach a terminal as they are.
TEST_F(GoldenCommand, InfoAndDiffKeepControlCharactersToThemselves) {
  set_attribute_of(a_, "/", "model", "\x1b[2J\nevil");
  renew_digest(a_);
  EXPECT_THAT(golden({"info", a_}).out, Not(HasSubstr("\x1b")));
  EXPECT_THAT(golden({"info", a_}).out, HasSubstr("\\x1b[2J\\x0aevil"));
  EXPECT_THAT(golden({"diff", a_, b_}).out, Not(HasSubstr("\x1b")));
}

TEST_F(GoldenCommand, HelpOfEachHasAnExample) {
  for (const Words& words :
       {Words{"--help"}, Words{"info", "--help"}, Words{"diff", "--help"}, Words{"check", "--help"}})
    EXPECT_THAT(golden(words).out, HasSubstr("Example: mlbench golden"));
}

// ---- other readers ----

TEST_F(GoldenCommand, H5dumpReadsWhatWasWritten) {
  if (shell("h5dump --version").exit_code != 0) GTEST_SKIP() << "h5dump is not installed (package hdf5-tools)";
  const std::string tap = shell("h5dump -m %.17g -d /steps/000/taps/layers.0.attn.q '" + a_ + "'").out;
  EXPECT_THAT(tap, HasSubstr("H5T_IEEE_F64LE"));
  EXPECT_THAT(tap, HasSubstr("( 2, 5, 4 )"));
  EXPECT_THAT(tap, HasSubstr(fmt::format("{:.17g}", example_values({2, 5, 4}, 2.0).values()[39])));
  EXPECT_THAT(shell("h5dump -a /architecture '" + a_ + "'").out, HasSubstr("\"LlamaForCausalLM\""));
  EXPECT_THAT(shell("h5dump -d /steps/001/positions '" + a_ + "'").out, ContainsRegex("\\(0\\): 3, 2"));
}

TEST_F(GoldenCommand, H5pyReadsWhatWasWritten) {
  const std::string python = python_with_h5py();
  if (python.empty()) GTEST_SKIP() << "h5py is not installed (package python3-h5py)";
  write_file(dir_ / "read.py",
             "import sys, h5py\n"
             "with h5py.File(sys.argv[1]) as f:\n"
             "    step = f['/steps/000']\n"
             "    print(f.attrs['format'], f.attrs['format_version'], f.attrs['seed'], step.attrs['label'])\n"
             "    print(f.attrs['model'] == 'preset llama-tiny, \\u00e9t\\u00e9')\n"
             "    print(list(step['taps']), step['positions'][:].tolist())\n"
             "    print('%.17g' % step['taps/layers.0.attn.q'][1, 4, 3])\n");
  EXPECT_EQ(shell(python + " '" + (dir_ / "read.py") + "' '" + a_ + "'").out,
            fmt::format("mlbench-golden 1 7 two prompts\nTrue\n['embed', 'layers.0.attn.q', 'logits'] [0, 1, 2, 0, 1]\n"
                        "{:.17g}\n",
                        example_values({2, 5, 4}, 2.0).values()[39]));
}

}  // namespace
}  // namespace mlbench::test
