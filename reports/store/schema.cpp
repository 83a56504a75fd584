#include "reports/store/schema.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fmt/format.h>

namespace mlbench::reports {
namespace {

// The columns of a record that ends in a seal are sealed in their order. `ratio` and what it is made of are REAL, and
// infinite where a value was not finite.
constexpr const char* kTables = R"sql(
CREATE TABLE state (runs INTEGER NOT NULL, seal INTEGER NOT NULL) STRICT;
CREATE TABLE run (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL CHECK (kind IN ('verify', 'bench')),
  started TEXT NOT NULL,
  revision TEXT NOT NULL, branch TEXT NOT NULL, label TEXT NOT NULL,
  host TEXT NOT NULL, processor TEXT NOT NULL,
  program TEXT NOT NULL, command TEXT NOT NULL,
  verdict TEXT NOT NULL,
  verifications INTEGER NOT NULL, taps INTEGER NOT NULL, rows INTEGER NOT NULL, probes INTEGER NOT NULL, facts INTEGER NOT NULL,
  seal INTEGER NOT NULL
) STRICT;
CREATE TABLE document (
  run INTEGER PRIMARY KEY REFERENCES run ON DELETE CASCADE,
  digest BLOB NOT NULL, bytes INTEGER NOT NULL,
  seal INTEGER NOT NULL,
  deflated BLOB NOT NULL
) STRICT;
CREATE TABLE verification (
  run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, part INTEGER NOT NULL,
  model TEXT NOT NULL, architecture TEXT NOT NULL, backend TEXT NOT NULL, backend_version TEXT NOT NULL,
  device TEXT NOT NULL, dtype TEXT NOT NULL,
  tensor_parallel INTEGER NOT NULL, pipeline_parallel INTEGER NOT NULL, disaggregated INTEGER NOT NULL,
  replicas INTEGER NOT NULL,
  verdict TEXT NOT NULL, checks INTEGER NOT NULL, failed INTEGER NOT NULL,
  isolated REAL, chained REAL, exact REAL,
  seal INTEGER NOT NULL,
  PRIMARY KEY (run, part)
) STRICT, WITHOUT ROWID;
CREATE TABLE tap (
  run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, place INTEGER NOT NULL, part INTEGER NOT NULL,
  kind TEXT NOT NULL, layer INTEGER NOT NULL, mode TEXT NOT NULL,
  ratio REAL NOT NULL, error REAL NOT NULL, bound REAL NOT NULL, failed INTEGER NOT NULL,
  seal INTEGER NOT NULL,
  PRIMARY KEY (run, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE benchmark (
  run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, place INTEGER NOT NULL,
  model TEXT NOT NULL, architecture TEXT NOT NULL, backend TEXT NOT NULL, device TEXT NOT NULL, dtype TEXT NOT NULL,
  threads INTEGER NOT NULL, batch INTEGER NOT NULL, prompt INTEGER NOT NULL, gen INTEGER NOT NULL, depth INTEGER NOT NULL,
  page_size INTEGER NOT NULL,
  tensor_parallel INTEGER NOT NULL, pipeline_parallel INTEGER NOT NULL, disaggregated INTEGER NOT NULL,
  replicas INTEGER NOT NULL,
  method TEXT NOT NULL, decode INTEGER NOT NULL,
  tokens_per_second REAL, tokens_per_second_low REAL, tokens_per_second_high REAL,
  median REAL, median_low REAL, median_high REAL,
  samples INTEGER NOT NULL, "check" TEXT NOT NULL,
  mfu REAL, mbu REAL, joules_per_token REAL,
  flops_per_token REAL NOT NULL, bytes_per_token REAL NOT NULL, peak_memory_bytes INTEGER NOT NULL,
  seal INTEGER NOT NULL,
  PRIMARY KEY (run, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE probe (
  run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, place INTEGER NOT NULL,
  backend TEXT NOT NULL, device TEXT NOT NULL, dtype TEXT NOT NULL, threads INTEGER NOT NULL,
  read_bytes_per_second REAL NOT NULL, flops_per_second REAL NOT NULL,
  seal INTEGER NOT NULL,
  PRIMARY KEY (run, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE fact (
  run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, place INTEGER NOT NULL,
  name TEXT NOT NULL, value TEXT NOT NULL,
  seal INTEGER NOT NULL,
  PRIMARY KEY (run, place)
) STRICT, WITHOUT ROWID;
)sql";

// A document is looked for before each addition.
constexpr const char* kDigests = "CREATE INDEX document_by_digest ON document (digest);";

constexpr std::array kSteps = {kTables, kDigests};

void step_to_newest(const Connection& connection, std::int64_t version) {
  for (auto i = static_cast<std::size_t>(version); i < kSteps.size(); ++i) connection.run(kSteps.at(i));
  connection.run(fmt::format("PRAGMA user_version = {}", kSteps.size()));
}

// A file name that is gone with its owner.
class Beside {
 public:
  explicit Beside(const std::filesystem::path& file) : name_(file.string() + ".XXXXXX") {
    const int made = ::mkstemp(name_.data());
    if (made < 0) throw unusable(one_line(file.string()), fmt::format("cannot be made: {}", std::strerror(errno)));
    const mode_t mask = ::umask(0);
    ::umask(mask);
    (void)::fchmod(made, 0666 & ~mask);
    (void)::close(made);
  }
  ~Beside() {
    ::unlink(name_.c_str());
    for (const char* suffix : {"-journal", "-wal", "-shm"}) ::unlink((name_ + suffix).c_str());
  }
  Beside(const Beside&) = delete;
  Beside& operator=(const Beside&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  std::string name_;
};

void sync_folder(const std::filesystem::path& file) {
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  const int opened = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (opened < 0) return;  // a folder that may be written and not read
  (void)::fsync(opened);
  (void)::close(opened);
}

}  // namespace

std::span<const char* const> schema_steps() { return kSteps; }
std::int64_t schema_version() { return static_cast<std::int64_t>(kSteps.size()); }

void make_store(const std::filesystem::path& file, std::chrono::milliseconds busy) {
  std::error_code ignored;
  if (std::filesystem::exists(file, ignored)) return;
  const Beside beside(file);
  try {
    const Connection made(beside.name(), Connection::Open::new_file, busy);
    made.run("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA synchronous = FULL");
    Transaction transaction(made, Transaction::Kind::write);
    made.run(fmt::format("PRAGMA application_id = {}", kApplicationId));
    step_to_newest(made, 0);
    Statement(made, "INSERT INTO state VALUES (?, ?)").bind(std::int64_t{0}).bind_seal().finish();
    transaction.commit();
    made.run("PRAGMA journal_mode = WAL");
  } catch (const Error& error) {
    // By the name that was asked for.
    throw unusable(one_line(file.string()),
                   "cannot be made: " + error.message().substr(one_line(beside.name()).size() + 2));
  }
  // Another program may have been first. Some file systems have no links, others no way to rename and not replace.
  const char* const from = beside.name().c_str();
  if (::link(from, file.c_str()) != 0 && errno != EEXIST &&
      ::renameat2(AT_FDCWD, from, AT_FDCWD, file.c_str(), RENAME_NOREPLACE) != 0 && errno != EEXIST)
    throw unusable(one_line(file.string()), fmt::format("cannot be made: {}", std::strerror(errno)));
  sync_folder(file);
}

std::int64_t require_store(const Connection& connection) {
  if (connection.number("PRAGMA application_id") != kApplicationId)
    throw unusable(connection.file(), "is no store of mlbench");
  const std::int64_t version = connection.number("PRAGMA user_version");
  if (version > schema_version())
    throw unusable(connection.file(),
                   fmt::format("has version {}; this mlbench knows those up to {}: take a newer mlbench", version,
                               schema_version()));
  if (version < 1) throw unusable(connection.file(), "is damaged: it has no version");
  return version;
}

void migrate(const Connection& connection) {
  Transaction transaction(connection, Transaction::Kind::write);
  step_to_newest(connection, require_store(connection));  // another program may have been first
  transaction.commit();
}

}  // namespace mlbench::reports
