// JSON of benchmark runs and comparisons against reports/bench.schema.json, and damaged ones, which it must reject.
#include <cmath>
#include <cstdlib>
#include <limits>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "reports/bench_report.h"
#include "tests/reports/example_bench.h"
#include "tests/support/temp_dir.h"

namespace mlbench::reports {
namespace {

using mlbench::test::read_file;
using mlbench::test::TempDir;
using nlohmann::ordered_json;

// Whether all documents follow the schema, and none does with a damage. Without its Python module it fails, too.
int check(const std::vector<ordered_json>& documents, std::string& said) {
  const TempDir dir;
  std::string paths;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const std::string path = dir / fmt::format("{}.json", i);
    mlbench::test::write_file(path, documents[i].dump(1, ' ', false, ordered_json::error_handler_t::replace));
    paths += fmt::format(" '{}'", path);
  }
  const std::string command =
      fmt::format("'{}' '{}/tests/reports/check_json.py' '{}/reports/bench.schema.json'{} >'{}' 2>&1", MLBENCH_PYTHON,
                  MLBENCH_SOURCE_DIR, MLBENCH_SOURCE_DIR, paths, dir / "said");
  const int status = std::system(command.c_str());  // NOLINT(cert-env33-c)
  said = read_file(dir / "said");
  return status;
}

void expect_strict(const std::vector<ordered_json>& documents) {
  std::string said;
  EXPECT_EQ(check(documents, said), 0) << said;
}

// Small: every field of every object is damaged in turn, and the whole is checked each time.
BenchRun small(const BenchRun& run) {
  BenchRun out = run;
  out.rows.resize(1);
  out.probes.resize(1);
  out.environment.facts.resize(1);
  return out;
}

TEST(BenchSchema, HoldsForEveryKindOfRun) {
  BenchRun wild = small(test::full_bench());
  wild.rows[0].check_ratio = std::nan("");
  wild.rows[0].median->high = std::numeric_limits<double>::infinity();
  wild.rows[0].mfu = -std::numeric_limits<double>::infinity();
  expect_strict({to_json(BenchRun{}), to_json(small(test::unchecked_run())), to_json(wild),
                 to_json(small(test::hostile_run("\xff <&> \x01 caf\xc3\xa9"))),
                 to_json(test::run_of({test::decode_row(), test::unsupported_row()}))});
}

TEST(BenchSchema, HoldsForComparisons) {
  expect_strict({to_json(BenchComparison{}), to_json(test::full_comparison())});
}

TEST(BenchSchema, HoldsForProbes) { expect_strict({to_json(test::full_bench().probes), to_json(BenchRun{}.probes)}); }

// The checker itself: it must be able to say no.
TEST(BenchSchema, RejectsWhatIsNotWritten) {
  const std::vector<std::pair<const char*, ordered_json>> wrong = {
      {"/version", 2},
      {"/format", "mlbench"},
      {"/rows/0/check", "maybe"},
      {"/rows/0/samples/1", 0.0},
      {"/rows/0/samples/1", -1.0},
      {"/rows/0/samples/1", nullptr},
      {"/rows/0/steps/0/0", -1.0},
      {"/rows/0/stop", "never"},
      {"/rows/0/point/batch", -1},
      {"/rows/0/point/batch", 1.5},
      {"/rows/0/check_ratio", "large"},
      {"/rows/0/median", 0.1},
  };
  for (const auto& [path, value] : wrong) {
    ordered_json json = to_json(small(test::run_of({test::decode_row()})));
    json.at(ordered_json::json_pointer(path)) = value;
    std::string said;
    EXPECT_NE(check({json}, said), 0) << path << " = " << value;
    EXPECT_THAT(said, ::testing::Not(::testing::HasSubstr("Traceback"))) << path;
  }
}

}  // namespace
}  // namespace mlbench::reports
