// JSON reports against reports/verify.schema.json, and damaged ones, which it must reject.
#include <cmath>
#include <cstdlib>
#include <limits>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "reports/backend_report.h"
#include "reports/verification_report.h"
#include "tests/reports/example_run.h"
#include "tests/support/command.h"
#include "tests/support/temp_dir.h"

namespace mlbench::reports {
namespace {

using mlbench::test::Outcome;
using mlbench::test::read_file;
using mlbench::test::run_program;
using mlbench::test::TempDir;

class Schema : public ::testing::Test {
 protected:
  void add(const nlohmann::ordered_json& json) {
    mlbench::test::write_file(fresh(), json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  // What the program writes.
  void add(int exit_code, std::vector<std::string> words) {
    words.insert(words.begin(), {"verify", "--threads", "1"});
    words.insert(words.end(), {"--json", fresh()});
    const Outcome run = run_program(words);
    EXPECT_EQ(run.exit_code, exit_code) << run.out << run.err;
  }
  // All documents follow the schema, and none does with a damage. Without its Python module this fails, too.
  void expect_strict() {
    const std::string said = dir_ / "said";
    const std::string command =
        fmt::format("'{}' '{}/tests/reports/check_json.py' '{}/reports/verify.schema.json'{} >'{}' 2>&1",
                    MLBENCH_PYTHON, MLBENCH_SOURCE_DIR, MLBENCH_SOURCE_DIR, documents_, said);
    EXPECT_EQ(std::system(command.c_str()), 0) << read_file(said);  // NOLINT(cert-env33-c)
  }
  // The same with a wrong answer among the right ones.
  void expect_rejected() {
    const std::string command =
        fmt::format("'{}' '{}/tests/reports/check_json.py' '{}/reports/verify.schema.json'{} >/dev/null 2>&1",
                    MLBENCH_PYTHON, MLBENCH_SOURCE_DIR, MLBENCH_SOURCE_DIR, documents_);
    EXPECT_NE(std::system(command.c_str()), 0);  // NOLINT(cert-env33-c)
  }

 private:
  std::string fresh() {
    std::string path = dir_ / fmt::format("{}.json", ++count_);
    documents_ += fmt::format(" '{}'", path);
    return path;
  }

  TempDir dir_;
  int count_ = 0;
  std::string documents_;
};

using Runs = std::vector<BackendVerification>;

TEST_F(Schema, HoldsForEveryKindOfRun) {
  add(to_json(Runs{}));
  add(to_json(Runs{test::full_run()}));
  add(to_json(Runs{test::passed_run(), test::unsupported_run(), test::untrusted_run(), test::broken_run()}));
  add(to_json(Runs{test::run_full_of("\xff <&> \x01 caf\xc3\xa9")}));
  add(to_json(Runs{test::run_full_of(std::numeric_limits<double>::infinity())}));
  add(to_json(Runs{test::run_full_of(std::nan(""))}));
  expect_strict();
}

TapResult comparison(bool passed) {
  TapResult tap;
  tap.method = "prefill";
  tap.step = "prefill";
  tap.tap = "layers.0.attn.q";
  tap.layer = 0;
  tap.limit = 1.0;
  tap.passed = passed;
  if (!passed) tap.worst = Mismatch{0, 1, "[3]", 1.0, std::nan("")};
  return tap;
}

TEST_F(Schema, HoldsForGoldens) {
  GoldenVerification golden;
  golden.rtol = 1e-12;
  golden.taps = {comparison(true), comparison(false)};
  golden.result_datasets = 3;
  golden.compared_datasets = 2;
  golden.uncompared = {{"/prefill/a", "no tap"}};
  golden.warnings = golden.notes = {"a line"};
  add(to_json(golden));
  expect_strict();
}

TEST_F(Schema, HoldsForWhatTheProgramWrites) {
  const std::string model = std::string(MLBENCH_TEST_DATA) + "/schedules-phi";
  add(0, {"--arch", "llama", "--backend", "cpu", "--dtype", "f32", "--method", "prefill"});
  add(3, {"--arch", "llama", "--backend", "cpu", "--dtype", "f64"});
  add(0, {"--model", model, "--golden", model + "/oracle.h5", "--backend", "reference"});
  add(1,
      {"--model", model, "--golden", model + "/oracle.h5", "--backend", "reference", "--set", "rope_theta=10000.01"});
  expect_strict();
}

// The checker itself: it must be able to say no.
TEST_F(Schema, RejectsWhatTheProgramDoesNotWrite) {
  nlohmann::ordered_json json = to_json(Runs{test::full_run()});
  json["runs"][0]["schedules"][0]["verdict"] = "maybe";
  add(json);
  expect_rejected();
}

TEST_F(Schema, RejectsAnEmptyList) { expect_rejected(); }

}  // namespace
}  // namespace mlbench::reports
