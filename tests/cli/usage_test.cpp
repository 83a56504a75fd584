// What is typed wrongly: one line that says what, and what would be right; nothing on standard output.
#include <algorithm>

#include <gmock/gmock.h>

#include "tests/cli/case_copy.h"

namespace mlbench::test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Words = std::vector<std::string>;

void expect_error(const Words& words, int exit_code, const std::string& said) {
  const Outcome run = run_program(words);
  SCOPED_TRACE(::testing::PrintToString(words));
  EXPECT_EQ(run.exit_code, exit_code);
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, StartsWith("mlbench: "));
  EXPECT_THAT(run.err, HasSubstr(said));
  EXPECT_EQ(lines_of(run.err).size(), 1U) << run.err;
}

Words verify_with(const Words& more) {
  Words words = verify_arguments(case_folder("phi"), case_folder("phi") + "/oracle.h5");
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Usage, UnknownCommandIsNamed) {
  expect_error({}, 2, "subcommand");
  expect_error({"verfy"}, 2, "verfy");
  expect_error({"list", "preset"}, 2, "preset");
  expect_error({"list"}, 2, "subcommand");
  expect_error({"verify", "list"}, 2, "");
}

TEST(Usage, UnknownFlagIsNamed) {
  expect_error(verify_with({"--tolerance", "1"}), 2, "--tolerance");
  expect_error({"list", "archs", "--arch", "llama"}, 2, "--arch");
  expect_error({"list", "presets", "extra"}, 2, "extra");
  expect_error({"--bogus"}, 2, "--bogus");
  expect_error({"--version", "--bogus"}, 2, "--bogus");
}

TEST(Usage, MissingValueOrOptionIsNamed) {
  expect_error(verify_with({"--rtol"}), 2, "--rtol");
  expect_error(verify_with({"--json"}), 2, "--json");
  expect_error({"verify", "--model", "x", "--golden", "y"}, 2, "--backend");
  expect_error({"verify", "--backend", "reference", "--golden", "y"}, 2, "--model DIR");
  expect_error({"verify", "--backend", "cpu", "--arch", "llama", "--trust-golden"}, 2, "--golden FILE");
}

TEST(Usage, BadNumberIsNamed) {
  for (const char* value : {"0", "-1", "nan", "inf", "-0.0", "-1e-300", "-inf"})
    expect_error(verify_with({std::string("--rtol=") + value}), 2, "--rtol");
  for (const char* value : {"abc", "1e-12x", "1,5", "1e999"}) expect_error(verify_with({"--rtol", value}), 2, "--rtol");
  for (const char* value : {"0", "-1", "1025", "two", "1.5", "99999999999999999999"}) {
    Words words = verify_with({});
    words.back() = value;  // of --threads
    expect_error(words, 2, "--threads");
  }
  for (const char* value : {"-1", "1.5", "x", "18446744073709551616"})
    expect_error({"list", "methods", "--arch", "llama", std::string("--seed=") + value}, 2, "--seed");
}

TEST(Usage, ValueOutsideAChoiceIsNamed) {
  expect_error(verify_with({"--color", "green"}), 2, "--color");
  expect_error(verify_with({"--rope-compat", "f16"}), 2, "--rope-compat");
  expect_error(verify_with({"--dtype", "bf16"}), 2, "bf16");
  expect_error({"list", "methods", "--arch", "phi", "--dtype", "q4"}, 2, "q4");
}

TEST(Usage, UnknownNamesShowNearOnes) {
  expect_error({"verify", "--backend", "refrence", "--arch", "phi", "--golden", "x"}, 2,
               "\"refrence\"; near: reference");
  expect_error({"verify", "--backend", "tpu-pod", "--arch", "phi", "--golden", "x"}, 2, "see: mlbench list backends");
  expect_error({"list", "methods", "--arch", "lama"}, 2, "\"lama\"; near: llama");
  expect_error({"list", "taps", "--arch", "transformer"}, 2, "\"transformer\"; see: mlbench list archs");
  expect_error({"verify", "--backend", "cpu", "--arch", "phi", "--method", "preefill"}, 2, "near: prefill");
  expect_error({"verify", "--backend", "cpu", "--arch", "phi", "--call", "single/0 decode"}, 2,
               "near: single/1 decode");
  expect_error({"verify", "--backend", "cpu", "--arch", "phi", "--dtype", "f32,bf17"}, 2, "\"bf17\"");
  expect_error({"verify", "--backend", "cpu", "--arch", "phi,lama"}, 2, "\"lama\"; near: llama");
  expect_error({"list", "methods", "--preset", "llama-3-8"}, 2, "\"llama-3-8\"; near: llama-3-8b");
  expect_error({"verify", "--backend", "reference", "--preset", "phi2", "--golden", case_folder("phi") + "/oracle.h5"},
               2, "\"phi2\"; near: phi-2");
}

// With a device: only the device that it does not have.
TEST(Usage, ADeviceThatIsNotThereIsUnavailableAndTheHostIsNamed) {
  for (const std::string backend : {"cuda", "rocm"}) {
    const Outcome outcome = run_program({"verify", "--arch", "olmo", "--backend", backend, "--device", backend + ":99"});
    EXPECT_EQ(outcome.exit_code, 3);
    EXPECT_THAT(outcome.out + outcome.err, HasSubstr("host")) << backend;
  }
}

TEST(Usage, ABackendWithoutADeviceSaysInOneLineWhatIsMissing) {
  for (const std::string backend : {"cuda", "rocm"}) {
    const Outcome seen = run_program({"list", "devices", "--json"});
    if (seen.out.find('"' + backend + ":0\"") != std::string::npos) continue;
    for (const char* command : {"verify", "bench"}) {
      const Outcome outcome = run_program({command, "--arch", "olmo", "--backend", backend});
      EXPECT_EQ(outcome.exit_code, 3);
      EXPECT_EQ(outcome.out, "");
      EXPECT_THAT(outcome.err, AllOf(HasSubstr("backend " + backend + ": "), HasSubstr("; --device host runs on the")));
      EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    }
  }
}

TEST(Usage, TheHostExecutorIsNamedInResults) {
  for (const std::string backend : {"cuda", "rocm"}) {
    const Outcome outcome = run_program({"verify", "--arch", "olmo", "--backend", backend, "--device", "host", "--inputs",
                                         "random", "--call", "single/0 prefill"});
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_THAT(outcome.out, HasSubstr("on " + backend + " (host executor)"));
  }
}

TEST(Usage, TheHostExecutorIsNotMeasured) {
  for (const char* backend : {"cuda", "rocm"})
    expect_error({"bench", "--arch", "olmo", "--backend", backend, "--device", "host"}, 2, "bench.host_executor");
}

TEST(Usage, WhatABackendDoesNotSupportIsToldWithTheReason) {
  for (const Words& words : {Words{"--dtype", "f64"}, Words{"--device", "gpu0"},
                             Words{"--set", R"(rope_scaling={"rope_type":"dynamic","factor":2.0})"}}) {
    Words all = {"verify", "--arch", "llama", "--backend", "cpu"};
    all.insert(all.end(), words.begin(), words.end());
    const Outcome outcome = run_program(all);
    EXPECT_EQ(outcome.exit_code, 3) << words[1];
    EXPECT_THAT(outcome.out, HasSubstr("unsupported: model: ")) << words[1];
  }
}

TEST(Usage, DisagreeingModelsAreRefused) {
  expect_error({"list", "methods", "--arch", "olmo", "--model", case_folder("phi")}, 2, "--arch olmo");
  expect_error({"list", "methods", "--arch", "olmo", "--preset", "llama-3-8b"}, 2, "--arch olmo");
  expect_error({"list", "methods", "--arch", "olm", "--preset", "olmo-1b"}, 2, "near: olmo");
  expect_error({"list", "methods", "--preset", "phi-2", "--model", case_folder("phi")}, 2, "--model");
  Words words = verify_with({"--arch", "llama"});
  expect_error(words, 2, "--arch llama");
  words.back() = "phi";
  EXPECT_EQ(run_program(words).exit_code, 0);
}

TEST(Usage, SettingsReplaceFields) {
  const Outcome listing =
      run_program({"list", "methods", "--arch", "llama", "--set", "vocab_size=1234", "--set", "max_batch_size=7"});
  EXPECT_EQ(listing.exit_code, 0) << listing.err;
  EXPECT_THAT(listing.out, HasSubstr("1234"));
  EXPECT_THAT(listing.out, HasSubstr("batch_size <= 7"));
  const Outcome word = run_program({"list", "methods", "--arch", "llama", "--set", "hidden_act=relu"});
  EXPECT_EQ(word.exit_code, 0) << word.err;
  const Outcome quoted = run_program({"list", "methods", "--arch", "llama", "--set", "hidden_act=\"relu\""});
  EXPECT_EQ(quoted.exit_code, 0) << quoted.err;
  EXPECT_EQ(run_program(verify_with({"--set", "hidden_act=gelu"})).exit_code, 1);  // not the golden's
}

TEST(Usage, BadSettingsAreNamed) {
  for (const std::string setting : {"vocab_size", "=3", ""})
    expect_error({"list", "methods", "--arch", "llama", "--set", setting}, 2, "--set \"" + setting + "\"");
  expect_error({"list", "methods", "--arch", "llama", "--set", "vocab_size=many"}, 2, "vocab_size");
  expect_error({"list", "methods", "--arch", "llama", "--set", "num_attention_heads=0"}, 2, "num_attention_heads");
  expect_error({"list", "methods", "--arch", "llama", "--set", "hidden_act=tanh"}, 2, "tanh");
  expect_error({"list", "methods", "--arch", "llama", "--set", "vocab_size=\"a\nb\""}, 2, "vocab_size");
  expect_error({"list", "methods", "--arch", "llama", "--set"}, 2, "--set");
}

// Names with line ends, quotes and bytes that are no text stay one line.
TEST(Usage, AwkwardNamesStayOneLine) {
  for (const std::string name : {"a\nb", "a\"b", "\x1b[31mred", "\xff\xfe", ""}) {
    expect_error({"list", "methods", "--arch", "x" + name}, 2, "");
    expect_error({"list", "methods", "--preset", "x" + name}, 2, "");
    expect_error({"list", "methods", "--model", "/x" + name}, 2, "");
    expect_error({"verify", "--backend", "x" + name, "--arch", "phi"}, 2, "");
    expect_error({"verify", "--backend", "reference", "--arch", "phi", "--golden", "/x" + name}, 2, "");
    expect_error({"x" + name}, 2, "");
    expect_error({"list", "archs", "--x" + name}, 2, "");
  }
}

TEST(Help, OfEveryCommandHasAnExample) {
  const Words commands[] = {
      {}, {"list"}, {"list", "archs"}, {"list", "presets"}, {"list", "methods"}, {"list", "taps"}, {"verify"}};
  for (Words words : commands) {
    words.emplace_back("--help");
    const Outcome run = run_program(words);
    SCOPED_TRACE(::testing::PrintToString(words));
    EXPECT_EQ(run.exit_code, 0);
    EXPECT_EQ(run.err, "");
    EXPECT_THAT(run.out, HasSubstr("Usage: mlbench "));
    words.pop_back();
    std::string example = "Example: mlbench";
    for (const std::string& word : words) example += " " + word;
    EXPECT_THAT(run.out, HasSubstr(example));
  }
}

TEST(Version, NamesTheProgramAndItsLibraries) {
  const Outcome run = run_program({"--version"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.err, "");
  EXPECT_THAT(run.out, ::testing::MatchesRegex("mlbench [0-9]+\\.[0-9]+\\.[0-9]+\n(.|\n)*"));
  for (const char* part : {"compiler", "OpenBLAS", "HDF5", "nlohmann/json", "CLI11", "fmt"})
    EXPECT_THAT(run.out, HasSubstr(part));
}

}  // namespace
}  // namespace mlbench::test
