// Writers that are killed at any moment, two at a time, on one store.
#include <signal.h>  // NOLINT(modernize-deprecated-headers): kill() is POSIX's
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <map>
#include <optional>
#include <random>
#include <stdexcept>
#include <thread>

#include <gmock/gmock.h>

#include "reports/store/database.h"
#include "reports/store/store.h"
#include "tests/reports/store_examples.h"
#include "tests/support/temp_dir.h"

namespace mlbench::reports {
namespace {

using mlbench::test::TempDir;
using Access = Store::Access;

// What a writer says once add() has returned.
struct Report {
  std::size_t number = 0;  // of the document
  RunId id = 0;
};

// A process that adds documents from `number` on until it is killed.
class Writer {
 public:
  Writer(const std::string& file, std::size_t number) {
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) throw std::runtime_error("no pipe");
    pid_ = ::fork();
    if (pid_ == 0) write_forever(file, number, ends[1]);
    ::close(ends[1]);
    from_ = ends[0];
  }
  ~Writer() {
    kill();
    ::close(from_);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // The next report; nothing once the writer is dead and all is read.
  std::optional<Report> next() const {
    Report report;
    return ::read(from_, &report, sizeof report) == sizeof report ? std::optional(report) : std::nullopt;
  }
  void kill() {
    if (pid_ < 0) return;
    (void)::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  [[noreturn]] static void write_forever(const std::string& file, std::size_t number, int to) {
    try {
      Store store(file, Access::write);
      for (;; ++number) {
        const Report report{number, store.add({}, test::numbered_document(number))};
        if (::write(to, &report, sizeof report) != sizeof report) ::_exit(1);
      }
    } catch (const std::exception& error) {
      fprintf(stderr, "a writer failed: %s\n", error.what());
    }
    ::_exit(1);
  }

  pid_t pid_ = -1;
  int from_ = -1;
};

// All that was reported, and nothing in part.
void expect_all(const std::string& file, const std::map<RunId, std::size_t>& reported, const std::string& when) {
  const Store store(file, Access::read);
  for (const auto& [id, number] : reported)
    ASSERT_TRUE(store.document(id) == test::numbered_document(number)) << when << ": run " << id;
  // A run that lacks a record makes these throw.
  const std::size_t runs = store.runs({}).size();
  EXPECT_GE(runs, reported.size()) << when;
  EXPECT_GE(store.taps({}).size() + store.rows({}).size(), runs) << when;
  EXPECT_GE(store.verifications({}).size() + store.probes({}).size(), runs) << when;
}

TEST(KilledWriters, LoseNothingThatTheyReportedAndHarmNoFile) {
  const TempDir dir;
  const std::string file = dir / "h.db";
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same moments each time, as far as a machine allows
  std::map<RunId, std::size_t> reported;
  std::size_t number = 0;
  for (int round = 0; round < 40; ++round) {
    constexpr std::size_t kMostOfARound = 100'000;
    std::array<Writer, 2> writers{Writer(file, number), Writer(file, number + kMostOfARound)};
    number += 2 * kMostOfARound;
    const auto note = [&](const Writer& writer) {
      const auto report = writer.next();
      EXPECT_TRUE(!report || reported.emplace(report->id, report->number).second) << "run " << report->id << " twice";
      return report.has_value();
    };
    // Both are at work before the first is killed, and one of them still is when the other is.
    for (const Writer& writer : writers) ASSERT_TRUE(note(writer)) << "round " << round;
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    for (Writer& writer : writers) {
      writer.kill();
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 5'000));
    }
    for (const Writer& writer : writers) {
      while (note(writer)) {
      }
    }
    if (round % 8 == 7) {
      expect_all(file, reported, "round " + std::to_string(round));
      EXPECT_EQ(test::integrity_of(file), "ok") << round;
    }
  }
  EXPECT_GE(reported.size(), 80U);
}

TEST(KilledWriters, LeaveAWholeStoreOrNoneWhenTheyAreMakingIt) {
  std::mt19937 random(8);  // NOLINT(cert-msc51-cpp)
  for (int round = 0; round < 40; ++round) {
    const TempDir dir;
    const std::string file = dir / "h.db";
    {
      const Writer first(file, 0), second(file, 1000);
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 12'000));
    }
    Store store(file, Access::write);  // made where the writers had none yet
    const RunId id = store.add({}, test::numbered_document(2000));
    EXPECT_EQ(store.document(id), test::numbered_document(2000));
    EXPECT_EQ(test::integrity_of(file), "ok") << round;
  }
}

}  // namespace
}  // namespace mlbench::reports
