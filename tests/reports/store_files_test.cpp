// Files that are no store, or are not whole, or cannot be written.
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <random>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "reports/store/packing.h"
#include "reports/store/schema.h"
#include "reports/store/store.h"
#include "tests/reports/store_examples.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace mlbench::reports {
namespace {

namespace fs = std::filesystem;
using mlbench::test::error_of;
using mlbench::test::read_file;
using mlbench::test::TempDir;
using mlbench::test::write_file;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;
using Access = Store::Access;

void run_sql(const std::string& file, const std::string& sql) {
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(file.c_str(), &database), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(database);
  EXPECT_EQ(sqlite3_close(database), SQLITE_OK);
}

// Everything that can be asked of a store, as text.
std::string all_of(const Store& store) {
  std::string out;
  for (const RunHead& h : store.runs({})) {
    out += fmt::format("{} {} {} {} {} {} {} {} {} {} {}\n", h.id, name(h.kind), h.started, h.revision, h.branch,
                       h.label, h.host, h.processor, h.program, h.command, h.verdict);
    out += store.document(h.id);
    for (const auto& [fact, value] : store.environment(h.id)) out += fact + value;
  }
  for (const StoredVerification& v : store.verifications({}))
    out += fmt::format("{} {} {} {} {} {} {}\n", v.run, v.model, v.backend, v.dtype, v.verdict, v.checks,
                       v.isolated.value_or(-1.0));
  for (const StoredTap& t : store.taps({}))
    out += fmt::format("{} {} {} {} {} {} {} {} {}\n", t.run, t.part, t.kind, t.layer, t.mode, t.ratio, t.error,
                       t.limit, t.failed);
  for (const StoredRow& r : store.rows({}))
    out += fmt::format("{} {} {} {} {} {}\n", r.run, describe(r.point, r.method), r.samples, r.check,
                       r.median ? r.median->value : -1.0, r.peak_memory_bytes);
  for (const StoredProbe& p : store.probes({}))
    out += fmt::format("{} {} {}\n", p.run, p.probe.device, p.probe.read_bytes_per_second);
  return out;
}

void make_store_of(const std::string& file, std::size_t runs) {
  Store store(file, Access::write);
  RunHead head;
  head.revision = "0123456789abcdef";
  head.label = "a label";
  for (std::size_t i = 0; i < runs; ++i) (void)store.add(head, test::numbered_document(i));
}

// ---- what is refused ----

void expect_refused(const std::string& file, const std::string& why) {
  const bool regular = fs::is_regular_file(file);
  const std::string before = regular ? read_file(file) : "";
  for (const Access access : {Access::read, Access::write}) {
    const Error error = error_of([&] { (void)Store(file, access).runs({}); });
    EXPECT_EQ(error.code(), "store.unusable");
    EXPECT_EQ(error.kind(), ErrorKind::request);
    EXPECT_THAT(error.message(), StartsWith(file + ": "));
    EXPECT_THAT(error.message(), HasSubstr(why));
  }
  EXPECT_TRUE(!regular || read_file(file) == before) << file << " was changed";
}

TEST(NoStore, IsRefusedByNameAndStaysAsItWas) {
  const TempDir dir;
  write_file(dir / "empty", "");
  expect_refused(dir / "empty", "is empty");
  write_file(dir / "short", "x");
  expect_refused(dir / "short", "is no store of mlbench");
  write_file(dir / "text", std::string(10'000, 'x'));
  expect_refused(dir / "text", "is no store of mlbench");
  expect_refused(dir.path().string(), "is no regular file");
  expect_refused("/dev/null", "is no regular file");
  run_sql(dir / "foreign", "CREATE TABLE t (x); INSERT INTO t VALUES (1)");
  expect_refused(dir / "foreign", "is no store of mlbench");
  run_sql(dir / "other", "PRAGMA application_id = 1234; PRAGMA journal_mode = WAL; CREATE TABLE t (x)");
  expect_refused(dir / "other", "is no store of mlbench");
}

TEST(NoStore, IsNotMadeByReading) {
  const TempDir dir;
  EXPECT_THAT(error_of([&] { (void)Store(dir / "none.db", Access::read); }).message(), HasSubstr("is not there"));
  EXPECT_TRUE(fs::is_empty(dir.path()));
}

TEST(NoStore, IsMadeInAFolderThatIsNotThere) {
  const TempDir dir;
  const Error error = error_of([&] { (void)Store(dir / "none/h.db", Access::write); });
  EXPECT_EQ(error.code(), "store.unusable");
  EXPECT_THAT(error.message(), HasSubstr("cannot be made: No such file or directory"));
}

TEST(AStoreOfALaterVersion, IsRefusedByName) {
  const TempDir dir;
  make_store_of(dir / "h.db", 1);
  run_sql(dir / "h.db", "PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE)");
  expect_refused(dir / "h.db", "has version 99; this mlbench knows those up to");
}

TEST(AStoreWithAnyName, IsAFile) {
  const TempDir dir;
  const fs::path before = fs::current_path();
  fs::current_path(dir.path());
  for (const std::string name : {":memory:", "file:x?mode=memory", "100% \n'q'.db", "-x"}) {
    EXPECT_EQ(Store(name, Access::write).add({}, test::numbered_document(0)), 1) << name;
    EXPECT_THAT(Store(name, Access::read).runs({}), SizeIs(1)) << name;
    EXPECT_TRUE(fs::is_regular_file(dir.path() / name));
  }
  fs::current_path(before);
}

// ---- versions ----

// Files of these versions are with users: a step never changes.
TEST(Schema, StepsThatWereReleasedStayAsTheyAre) {
  std::string digests;
  for (const char* step : schema_steps()) {
    for (const char c : digest_of(step).substr(0, 4)) digests += fmt::format("{:02x}", static_cast<unsigned char>(c));
    digests += ' ';
  }
  EXPECT_EQ(digests, "84ebe76d 905453bb ");
}

TEST(Schema, OfTheFirstVersionBecomesThisOnesWithItsRuns) {
  const TempDir dir;
  const std::string now = dir / "now.db", old = dir / "old.db";
  make_store_of(now, 6);
  run_sql(
      old,
      fmt::format("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA application_id = {}; {}; PRAGMA user_version = 1; "
                  "PRAGMA journal_mode = WAL; ATTACH '{}' AS new;",
                  kApplicationId, schema_steps()[0], now) +
          [] {
            std::string copy;
            for (const char* table : {"state", "run", "document", "verification", "tap", "benchmark", "probe", "fact"})
              copy += fmt::format("INSERT INTO main.{0} SELECT * FROM new.{0};", table);
            return copy;
          }());
  const std::string expected = all_of(Store(now, Access::read));
  fs::copy_file(old, dir / "read.db");
  EXPECT_TRUE(all_of(Store(dir / "read.db", Access::read)) == expected);
  Store store(old, Access::write);
  EXPECT_TRUE(all_of(store) == expected);
  EXPECT_TRUE(
      store.import({.revision = "0123456789abcdef", .label = "a label"}, test::numbered_document(5), "5.json", "")
          .known);
  EXPECT_EQ(store.add({}, test::numbered_document(6)), 7);
  EXPECT_EQ(test::integrity_of(old), "ok");
  EXPECT_EQ(Connection(old, Connection::Open::existing, {}).number("PRAGMA user_version"), schema_version());
  EXPECT_EQ(Connection(old, Connection::Open::existing, {}).number("SELECT count(*) FROM sqlite_master"),
            Connection(now, Connection::Open::existing, {}).number("SELECT count(*) FROM sqlite_master"));
}

// ---- damage ----

// Either the right answer to everything, or an error that says so.
void expect_right_or_refused(const std::string& file, const std::string& expected, const std::string& what) {
  try {
    EXPECT_TRUE(all_of(Store(file, Access::read)) == expected) << what << ": wrong data";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "store.unusable") << what << ": " << error.message();
  }
}

void expect_added_or_refused(const std::string& file, const std::string& what) {
  try {
    Store store(file, Access::write);
    EXPECT_TRUE(store.document(store.add({}, test::numbered_document(1000))) == test::numbered_document(1000)) << what;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "store.unusable") << what << ": " << error.message();
  }
}

class ADamagedStore : public ::testing::Test {
 protected:
  void SetUp() override {
    make_store_of(file, 6);
    expected = all_of(Store(file, Access::read));
    bytes = read_file(file);
    fs::remove(file);
  }
  void check(const std::string& damaged, const std::string& what, bool write = true) const {
    write_file(file, damaged);
    expect_right_or_refused(file, expected, what);
    if (write) expect_added_or_refused(file, what);
    for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(file + suffix);
  }

  const TempDir dir;
  const std::string file = dir / "h.db";
  std::string expected, bytes;
};

TEST_F(ADamagedStore, ThatIsCutOffIsRefused) {
  for (std::size_t part = 1; part < 16; ++part) {
    write_file(file, bytes.substr(0, bytes.size() * part / 16));
    EXPECT_EQ(error_of([&] { (void)all_of(Store(file, Access::read)); }).code(), "store.unusable") << part;
    for (const char* suffix : {"-wal", "-shm"}) fs::remove(file + suffix);
  }
}

TEST_F(ADamagedStore, WithPagesOfZerosGivesNothingWrong) {
  constexpr std::size_t kPage = 4096;
  ASSERT_EQ(bytes.size() % kPage, 0U);
  for (std::size_t at = 0; at < bytes.size(); at += kPage) {
    std::string damaged = bytes;
    damaged.replace(at, kPage, kPage, '\0');
    check(damaged, fmt::format("page {}", at / kPage));
  }
}

TEST_F(ADamagedStore, WithChangedBytesGivesNothingWrong) {
  std::mt19937_64 random(20261122);  // NOLINT(cert-msc51-cpp): the same bytes each time
  for (int round = 0; round < 800; ++round) {
    std::string damaged = bytes;
    std::string what = fmt::format("round {}:", round);
    for (std::size_t count = 1 + random() % 4; count > 0; --count) {
      // Half of them where trees and records begin.
      const std::size_t at =
          random() % 2 == 0 ? random() % bytes.size() : random() % (bytes.size() / 4096) * 4096 + random() % 64;
      damaged[at] = static_cast<char>(random());
      what += fmt::format(" {}", at);
    }
    check(damaged, what, round % 8 == 0);  // a disk takes its time
  }
}

// ---- rights, and room ----

// What `act` returns in a process of its own, which it may limit as it likes.
int in_child(const std::function<int()>& act) {
  const pid_t child = ::fork();
  if (child == 0) {
    int code = 99;
    try {
      code = act();
    } catch (const std::exception& error) {
      fmt::print(stderr, "{}\n", error.what());
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

constexpr uid_t kNobody = 65534;

TEST(AStoreThatMayOnlyBeRead, IsReadAndNotWritten) {
  const TempDir dir;
  const std::string file = dir / "h.db";
  make_store_of(file, 3);
  ASSERT_EQ(::chmod(file.c_str(), 0444), 0);
  ASSERT_EQ(::chmod(dir.path().c_str(), 0555), 0);
  const std::string expected = all_of(Store(file, Access::read));
  EXPECT_EQ(in_child([&] {
              if (::geteuid() == 0 && ::setuid(kNobody) != 0) return 1;
              if (all_of(Store(file, Access::read)) != expected) return 2;
              const Error refused = error_of([&] { (void)Store(file, Access::write); });
              if (refused.code() != "store.unusable") return 3;
              const Error unmade = error_of([&] { (void)Store(dir / "new.db", Access::write); });
              return unmade.code() == "store.unusable" ? 0 : 4;
            }),
            0);
  ASSERT_EQ(::chmod(dir.path().c_str(), 0755), 0);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), {}), 1);
}

TEST(AFullDisk, IsSaidAndCostsNothingThatWasStored) {
  for (const rlim_t room : {2'000U, 40'000U, 200'000U, 400'000U}) {
    const TempDir dir;
    const std::string file = dir / "h.db", log = dir / "log";
    EXPECT_EQ(in_child([&] {
                (void)std::signal(SIGXFSZ, SIG_IGN);
                const rlimit limit{room, room};
                if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
                std::size_t added = 0;
                const Error error = error_of([&] {
                  Store store(file, Access::write);
                  while (added < 200) {
                    (void)store.add({}, test::numbered_document(added));
                    ++added;
                    write_file(log, fmt::format("{}", added));
                  }
                });
                return error.code() == "store.unusable" ? 0 : 2;
              }),
              0)
        << room;
    const std::size_t added = fs::exists(log) ? std::stoul(read_file(log)) : 0;
    EXPECT_EQ(added == 0, !fs::exists(file) || added == 0);
    if (!fs::exists(file)) continue;
    EXPECT_EQ(test::integrity_of(file), "ok");
    const Store store(file, Access::read);
    EXPECT_THAT(store.runs({}), SizeIs(added)) << room;
    for (std::size_t i = 0; i < added; ++i)
      EXPECT_EQ(store.document(static_cast<RunId>(i + 1)), test::numbered_document(i));
  }
}

}  // namespace
}  // namespace mlbench::reports
