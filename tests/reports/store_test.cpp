#include "reports/store/store.h"

#include <cmath>
#include <limits>
#include <thread>
#include <tuple>

#include <gmock/gmock.h>

#include "reports/verification_report.h"
#include "tests/reports/store_examples.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace mlbench::reports {
namespace {

using mlbench::test::error_of;
using mlbench::test::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr double kInfinite = std::numeric_limits<double>::infinity();

class AStore : public ::testing::Test {
 protected:
  const TempDir dir;
  const std::string file = dir / "history.db";
  Store store{file, Store::Access::write};

  RunId add(const std::string& document, const RunHead& head = {}) { return store.add(head, document); }
  Store::Imported import(const std::string& document, const RunHead& head = {}) {
    return store.import(head, document, "a.json", "2026-11-19T00:00:00Z");
  }
  RunId add_at(const std::string& started, const std::string& document = numbered(), RunHead head = {}) {
    head.started = started;
    return add(document, head);
  }
  static std::string numbered() {
    static std::size_t number = 0;
    return test::numbered_verification(number++);
  }
  [[nodiscard]] std::vector<RunId> found(const RunFilter& filter) const {
    std::vector<RunId> ids;
    for (const RunHead& head : store.runs(filter)) ids.push_back(head.id);
    return ids;
  }
};

// ---- what is kept ----

TEST_F(AStore, KeepsADocumentByteForByte) {
  for (const std::string& document : {test::numbered_verification(1), test::numbered_benchmark(1)})
    EXPECT_EQ(store.document(add(document)), document);
}

TEST_F(AStore, KeepsWhatIsSaidOfARun) {
  RunHead head;
  head.started = "2026-11-20T01:02:03Z";
  head.revision = "0123abcd";
  head.branch = "main";
  head.label = "nightly, of \"all\"\n\xc3\xa4 and \xff";
  head.host = "h1";
  head.processor = "a CPU";
  head.program = "mlbench 0.1.0 (abc)";
  head.command = "mlbench verify --arch olmo";
  const RunId id = add(test::verification_text({test::failed_run()}), head);
  const RunHead back = store.runs({}).at(0);
  EXPECT_EQ(back.id, id);
  EXPECT_EQ(back.kind, StoredKind::verification);
  EXPECT_EQ(back.verdict, "failed");
  for (const auto field : {&RunHead::started, &RunHead::revision, &RunHead::branch, &RunHead::label, &RunHead::host,
                           &RunHead::processor, &RunHead::program, &RunHead::command})
    EXPECT_EQ(back.*field, head.*field);
}

TEST_F(AStore, TakesABenchmarksHeadFromItsDocument) {
  (void)add(test::text_of(to_json(test::full_bench())));
  const RunHead head = store.runs({}).at(0);
  EXPECT_EQ(head.kind, StoredKind::benchmark);
  EXPECT_EQ(head.started, "2026-11-21T10:00:00Z");
  EXPECT_EQ(head.command, "mlbench bench --arch llama");
  EXPECT_EQ(head.processor, "A CPU, 2 GHz");
  EXPECT_EQ(head.program, "mlbench (abc123)");
  EXPECT_EQ(head.verdict, "error");
}

TEST_F(AStore, KeepsAVerificationsParts) {
  BackendVerification split = test::passed_run();
  split.split = {.tensor_parallel = 2, .pipeline_parallel = 3, .disaggregated = true, .replicas = 4};
  (void)add(test::verification_text({split, test::unsupported_run()}));
  const auto parts = store.verifications({});
  ASSERT_THAT(parts, SizeIs(2));
  EXPECT_EQ(parts[0].model, "llama-small");
  EXPECT_EQ(parts[0].architecture, "llama");
  EXPECT_EQ(parts[0].backend, "cpu");
  EXPECT_EQ(parts[0].backend_version, "oneDNN 2.6.3");
  EXPECT_EQ(parts[0].device, "cpu");
  EXPECT_EQ(parts[0].dtype, "bf16");
  EXPECT_EQ(parts[0].verdict, "passed");
  EXPECT_EQ(parts[0].checks, 5);
  EXPECT_EQ(parts[0].failed, 0);
  EXPECT_EQ(parts[0].isolated, 0.5);
  EXPECT_EQ(parts[0].chained, 0.75);
  EXPECT_EQ(parts[0].exact, std::nullopt);
  EXPECT_EQ(parts[0].tensor_parallel, 2);
  EXPECT_EQ(parts[0].pipeline_parallel, 3);
  EXPECT_TRUE(parts[0].disaggregated);
  EXPECT_EQ(parts[0].replicas, 4);
  EXPECT_EQ(parts[1].replicas, 1);
  EXPECT_EQ(parts[1].verdict, "unsupported");
  EXPECT_EQ(parts[1].isolated, std::nullopt);
  EXPECT_FALSE(parts[1].disaggregated);
}

TEST_F(AStore, KeepsTapsByKindLayerAndMode) {
  (void)add(test::verification_text({test::unsupported_run(), test::failed_run()}));
  const auto taps = store.taps({});
  ASSERT_THAT(taps, SizeIs(5));
  EXPECT_EQ(taps[0].kind, "embed");
  EXPECT_EQ(taps[0].layer, -1);
  EXPECT_EQ(taps[0].part, 1);
  EXPECT_EQ(taps[0].failed, 0);
  const StoredTap& worst = *std::ranges::max_element(taps, {}, &StoredTap::ratio);
  EXPECT_EQ(worst.kind, "attn.q");
  EXPECT_EQ(worst.layer, 1);
  EXPECT_EQ(worst.mode, "isolated");
  EXPECT_EQ(worst.ratio, 500.0);
  EXPECT_EQ(worst.error, 500.0 * 1e-6);
  EXPECT_EQ(worst.limit, 1e-6);
  EXPECT_EQ(worst.failed, 1);
}

// JSON writes null for what is not finite, and for what was not checked.
TEST_F(AStore, TellsAnInfiniteRatioFromOneThatIsMissing) {
  BackendVerification run = test::run_of({test::failing(test::kIsolated, "single/0 prefill", "attn.q", 0, kInfinite),
                                          test::failing(test::kExact, "single/0 prefill", "attn.q", 0, std::nan(""))});
  (void)add(test::verification_text({run}));
  const StoredVerification part = store.verifications({}).at(0);
  EXPECT_EQ(part.isolated, kInfinite);
  EXPECT_EQ(part.exact, kInfinite);
  EXPECT_EQ(part.chained, std::nullopt);
  for (const StoredTap& tap : store.taps({})) EXPECT_EQ(tap.ratio, kInfinite) << tap.mode;
}

TapResult against_golden(const std::string& tap, double error, bool passed) {
  TapResult result{.method = "prefill", .step = "prefill", .dataset = "/x", .tap = tap, .elements = 10};
  result.max_error = error;
  result.limit = 2.0;
  result.passed = passed;
  if (!passed) result.worst = Mismatch{0, 1, "[2]", 1.0, 1.5};
  return result;
}

TEST_F(AStore, KeepsTheReferenceAgainstAGolden) {
  GoldenVerification golden;
  golden.model = "checkpoint";
  golden.architecture = "llama";
  golden.backend = "reference";
  golden.dtype = "f64";
  golden.rtol = 1.0;
  golden.taps = {against_golden("layers.12.attn.q", 1.0, true), against_golden("layers.12.attn.q", kInfinite, false),
                 against_golden("logits", 0.5, true), against_golden("layers.12.attn.q", 1.5, true)};
  (void)add(test::text_of(to_json(golden)));
  const StoredVerification part = store.verifications({}).at(0);
  EXPECT_EQ(part.backend, "reference");
  EXPECT_EQ(part.checks, 4);
  EXPECT_EQ(part.failed, 1);
  EXPECT_EQ(part.chained, kInfinite);
  EXPECT_EQ(store.runs({}).at(0).verdict, "failed");
  const auto taps = store.taps({});
  ASSERT_THAT(taps, SizeIs(2));
  EXPECT_EQ(taps[0].kind, "attn.q");
  EXPECT_EQ(taps[0].layer, 12);
  EXPECT_EQ(taps[0].ratio, kInfinite);
  EXPECT_EQ(taps[0].failed, 1);
  EXPECT_EQ(taps[1].kind, "logits");
  EXPECT_EQ(taps[1].ratio, 0.25);
  EXPECT_EQ(taps[1].mode, "chained");
}

TEST_F(AStore, KeepsABenchmarksRowsProbesAndFacts) {
  BenchRun run = test::full_bench();
  run.rows[1].point.disaggregated = true;
  run.rows[1].point.replicas = 3;
  run.rows[1].point.depth = 5;
  const RunId id = add(test::text_of(to_json(run)));
  const auto rows = store.rows({});
  ASSERT_EQ(rows.size(), run.rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i].point, run.rows[i].point) << i;
  EXPECT_EQ(rows[1].method, "batch_decode");
  EXPECT_TRUE(rows[1].decode);
  EXPECT_EQ(rows[1].tokens_per_second->value, 64.0);
  EXPECT_EQ(rows[1].tokens_per_second->low, 48.0);
  EXPECT_EQ(rows[1].median->high, 0.3);
  EXPECT_EQ(rows[1].samples, 2);
  EXPECT_EQ(rows[1].mfu, std::nullopt);
  EXPECT_EQ(rows[1].mbu, 0.125);
  EXPECT_EQ(rows[1].joules_per_token, 0.75);
  EXPECT_EQ(rows[1].flops_per_token, 2e6);
  EXPECT_EQ(rows[1].bytes_per_token, 1e6);
  EXPECT_EQ(rows[1].peak_memory_bytes, 300ULL << 20U);
  std::vector<std::string> checks;
  for (const StoredRow& row : rows) checks.push_back(row.check);
  EXPECT_THAT(checks, ElementsAre("passed", "sampled", "unsupported", "error", "failed", "implausible"));
  EXPECT_EQ(rows[2].median.has_value(), false);
  const auto probes = store.probes({});
  ASSERT_THAT(probes, SizeIs(2));
  EXPECT_EQ(probes[1].probe.dtype, "bf16");
  EXPECT_EQ(probes[0].probe.flops_per_second, 4e10);
  EXPECT_EQ(store.environment(id), run.environment.facts);
}

TEST_F(AStore, GivesAVerificationTheFactsThatItsDocumentLacks) {
  const Environment environment{.facts = {{"host", "h"}, {"kernel", "6.1"}}, .warnings = {}};
  const RunId id = store.add({}, test::numbered_verification(0), environment);
  EXPECT_EQ(store.environment(id), environment.facts);
}

TEST_F(AStore, GivesTheFactsOfManyRunsByTimeThenById) {
  const Environment one{.facts = {{"host", "h"}, {"kernel", "6.1"}}, .warnings = {}};
  const Environment other{.facts = {{"kernel", "6.2"}}, .warnings = {}};
  RunHead late, early;
  late.started = "2026-11-22T00:00:00Z";
  early.started = "2026-11-20T00:00:00Z";
  const RunId a = store.add(late, numbered(), one), b = store.add(early, numbered(), other);
  const auto facts = [&](const RunFilter& filter) {
    std::vector<std::tuple<RunId, std::string, std::string>> out;
    for (const StoredFact& fact : store.facts(filter)) out.emplace_back(fact.run, fact.name, fact.value);
    return out;
  };
  EXPECT_THAT(facts({}),
              ElementsAre(std::tuple(b, "kernel", "6.2"), std::tuple(a, "host", "h"), std::tuple(a, "kernel", "6.1")));
  EXPECT_THAT(facts({.before = "2026-11-21"}), ElementsAre(std::tuple(b, "kernel", "6.2")));
}

TEST_F(AStore, JudgesARunByItsWorstPart) {
  const auto verdict_of = [&](const std::vector<BackendVerification>& parts) {
    const RunId id = add(test::verification_text(parts));
    return store.runs({.ids = {id}}).at(0).verdict;
  };
  const BackendVerification passed = test::passed_run(), unsupported = test::unsupported_run();
  EXPECT_EQ(verdict_of({passed, unsupported}), "passed");
  EXPECT_EQ(verdict_of({passed, test::untrusted_run()}), "untrusted");
  EXPECT_EQ(verdict_of({test::untrusted_run(), test::failed_run()}), "failed");
  EXPECT_EQ(verdict_of({test::broken_run(), test::failed_run()}), "error");
  EXPECT_EQ(verdict_of({unsupported}), "unsupported");
}

TEST_F(AStore, TakesOtherToolsResults) {
  (void)add(to_google_benchmark(test::unchecked_run()));
  (void)add(to_llama_bench(test::unchecked_run()));
  const auto heads = store.runs({});
  ASSERT_THAT(heads, SizeIs(2));
  EXPECT_EQ(heads[0].program, "google-benchmark");
  EXPECT_EQ(heads[1].program, "llama-bench");
  for (const RunHead& head : heads) EXPECT_EQ(head.verdict, "unchecked");
}

TEST_F(AStore, RefusesWhatIsNoResultAndStaysAsItWas) {
  const std::string good = test::numbered_verification(0);
  EXPECT_EQ(error_of([&] { (void)add(""); }).code(), "bench.format");
  EXPECT_EQ(error_of([&] { (void)add("{}"); }).code(), "bench.format");
  EXPECT_EQ(error_of([&] { (void)add(good.substr(0, good.size() / 2)); }).code(), "bench.format");
  const Error error =
      error_of([&] { (void)import(R"({"command": "verify", "verdict": "passed", "runs": [{"verdict": "passed"}]})"); });
  EXPECT_EQ(error.code(), "verify.format");
  EXPECT_THAT(error.message(), HasSubstr("a.json: runs[0].model"));
  EXPECT_THAT(store.runs({}), IsEmpty());
}

// ---- known documents ----

TEST_F(AStore, KnowsABenchmarkAgain) {
  const std::string document = test::numbered_benchmark(1);
  const Store::Imported first = import(document), second = import(document);
  EXPECT_FALSE(first.known);
  EXPECT_TRUE(second.known);
  EXPECT_EQ(second.id, first.id);
  EXPECT_THAT(store.runs({}), SizeIs(1));
}

// What the program itself has run is a run of its own, though it be the same to the second.
TEST_F(AStore, KeepsEveryRunThatIsAdded) {
  const std::string document = test::numbered_verification(1);
  const RunId first = add_at("2026-11-20T00:00:00Z", document), second = add_at("2026-11-20T00:00:00Z", document);
  EXPECT_NE(first, second);
  EXPECT_EQ(import(document).id, first);
}

TEST_F(AStore, ImportsWithTheMomentOfTheFileWhereNothingElseSaysOne) {
  (void)import(test::numbered_verification(1));
  RunHead head;
  head.started = "2026-11-20T00:00:00Z";
  (void)import(test::numbered_verification(2), head);
  const std::vector<RunHead> heads = store.runs({});
  ASSERT_THAT(heads, SizeIs(2));
  EXPECT_EQ(heads[0].started, "2026-11-19T00:00:00Z");
  EXPECT_EQ(heads[1].started, "2026-11-20T00:00:00Z");
}

// Two verifications of the same thing have the same document.
TEST_F(AStore, KeepsEqualResultsOfDifferentTimesAndRevisions) {
  const std::string document = test::numbered_verification(1);
  RunHead head;
  head.started = "2026-11-20T00:00:00Z";
  head.revision = "a";
  const RunId first = import(document, head).id;
  EXPECT_EQ(import(document, head).id, first);
  head.revision = "b";
  const RunId second = import(document, head).id;
  EXPECT_NE(second, first);
  head.started = "2026-11-20T00:00:01Z";
  EXPECT_NE(import(document, head).id, second);
  EXPECT_EQ(import(document).id, first);
  EXPECT_THAT(store.runs({}), SizeIs(3));
}

// ---- filters ----

TEST_F(AStore, ListsByTimeThenById) {
  const RunId late = add_at("2026-11-22T00:00:00Z"), early = add_at("2026-11-20T00:00:00Z");
  const RunId again = add_at("2026-11-20T00:00:00Z");
  EXPECT_THAT(found({}), ElementsAre(early, again, late));
  EXPECT_THAT(found({.newest = 2}), ElementsAre(again, late));
  EXPECT_THAT(found({.since = "2026-11-21"}), ElementsAre(late));
  EXPECT_THAT(found({.before = "2026-11-22"}), ElementsAre(early, again));
  EXPECT_THAT(found({.ids = {again, 77}}), ElementsAre(again));
}

TEST_F(AStore, FindsRunsByWhatIsSaidOfThem) {
  RunHead head;
  head.revision = "abcdef";
  head.branch = "main";
  head.label = "it's 100%";
  head.host = "h1";
  const RunId marked = add(numbered(), head), other = add(numbered());
  EXPECT_THAT(found({.revision = "abc"}), ElementsAre(marked));
  EXPECT_THAT(found({.revision = "ABC"}), IsEmpty());
  EXPECT_THAT(found({.revision = "a%"}), IsEmpty());
  EXPECT_THAT(found({.branch = "main"}), ElementsAre(marked));
  EXPECT_THAT(found({.branch = "mai"}), IsEmpty());
  EXPECT_THAT(found({.label = "it's 100%"}), ElementsAre(marked));
  EXPECT_THAT(found({.host = "h1"}), ElementsAre(marked));
  EXPECT_THAT(found({.verdict = "failed"}), ElementsAre(marked, other));
  EXPECT_THAT(found({.label = "' OR 1 --"}), IsEmpty());
}

TEST_F(AStore, FindsRunsByAPartOrARow) {
  BackendVerification other = test::passed_run();
  other.backend = "cuda";
  other.dtype = "f16";
  const RunId verification = add(test::verification_text({test::passed_run(), other}));
  const RunId benchmark = add(test::numbered_benchmark(0));
  EXPECT_THAT(found({.backend = "cuda"}), ElementsAre(verification));
  EXPECT_THAT(found({.backend = "cpu", .dtype = "f32"}), ElementsAre(benchmark));
  EXPECT_THAT(found({.backend = "cpu", .dtype = "f16"}), IsEmpty()) << "of two different parts";
  EXPECT_THAT(found({.architecture = "llama", .model = "llama-small", .device = "cpu"}), SizeIs(2));
  EXPECT_THAT(found({.kind = StoredKind::benchmark}), ElementsAre(benchmark));
  EXPECT_THAT(store.rows({.backend = "cuda"}), IsEmpty());
  EXPECT_THAT(store.verifications({.backend = "cuda"}), SizeIs(2));
}

TEST_F(AStore, SaysWhichRunItLacks) {
  const Error error = error_of([&] { (void)store.document(7); });
  EXPECT_EQ(error.code(), "store.missing");
  EXPECT_THAT(error.message(), HasSubstr("has no run 7"));
}

// ---- removal ----

TEST_F(AStore, BecomesSmallerByRemovalAndGivesNoIdTwice) {
  std::vector<RunId> ids;
  for (std::size_t i = 0; i < 40; ++i) ids.push_back(add(test::numbered_document(i)));
  const RunId kept = ids.front();
  EXPECT_EQ(store.remove({.ids = {ids.back()}}), 1U);
  EXPECT_EQ(store.remove({.ids = std::vector<RunId>(ids.begin() + 1, ids.end())}), 38U);
  const auto smaller = std::filesystem::file_size(file);
  EXPECT_THAT(found({}), ElementsAre(kept));
  EXPECT_EQ(store.document(kept), test::numbered_document(0));
  EXPECT_THAT(store.taps({}), SizeIs(12));
  for (std::size_t i = 1; i < 40; ++i) EXPECT_GT(add(test::numbered_document(i)), ids.back());
  (void)store.remove({.ids = {kept}});
  store = Store(file, Store::Access::write);
  EXPECT_GT(std::filesystem::file_size(file), 2 * smaller);
  EXPECT_THAT(found({}), SizeIs(39));
}

// ---- several at once ----

TEST_F(AStore, TakesFourWritersWhileReadersSeeWholeRuns) {
  constexpr std::size_t kWriters = 4, kRuns = 25;
  std::vector<std::vector<RunId>> ids(kWriters);
  std::vector<std::thread> writers;
  for (std::size_t w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      Store own(file, Store::Access::write);
      for (std::size_t i = 0; i < kRuns; ++i) ids[w].push_back(own.add({}, test::numbered_document(w * kRuns + i)));
    });
  }
  const Store reader(file, Store::Access::read);
  std::size_t seen = 0;
  while (seen < kWriters * kRuns) {
    const auto heads = reader.runs({});
    EXPECT_GE(heads.size(), seen);
    seen = heads.size();
    // Each of these throws where a run lacks a part.
    EXPECT_GE(reader.taps({.newest = 3}).size() + reader.rows({.newest = 3}).size(), seen == 0 ? 0U : 1U);
    for (const RunHead& head : reader.runs({.newest = 2})) EXPECT_FALSE(reader.document(head.id).empty());
  }
  for (std::thread& writer : writers) writer.join();
  for (std::size_t w = 0; w < kWriters; ++w) {
    for (std::size_t i = 0; i < kRuns; ++i)
      EXPECT_EQ(reader.document(ids[w][i]), test::numbered_document(w * kRuns + i)) << w << " " << i;
  }
}

TEST(Stores, AreMadeOnceByManyAtOnce) {
  constexpr std::size_t kWriters = 8;
  for (int round = 0; round < 5; ++round) {
    const TempDir dir;
    std::vector<std::thread> writers;
    for (std::size_t w = 0; w < kWriters; ++w)
      writers.emplace_back(
          [&, w] { (void)Store(dir / "h.db", Store::Access::write).add({}, test::numbered_document(w)); });
    for (std::thread& writer : writers) writer.join();
    EXPECT_THAT(Store(dir / "h.db", Store::Access::read).runs({}), SizeIs(kWriters));
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(dir.path())) files.push_back(entry.path().filename());
    EXPECT_THAT(files, ElementsAre("h.db"));
  }
}

}  // namespace
}  // namespace mlbench::reports
