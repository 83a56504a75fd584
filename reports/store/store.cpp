#include "reports/store/store.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>

#include <fmt/format.h>

#include "core/error.h"
#include "reports/store/contents.h"
#include "reports/store/database.h"
#include "reports/store/packing.h"
#include "reports/store/records.h"
#include "reports/store/run_filter.h"
#include "reports/store/schema.h"
#include "reports/store/times.h"

namespace mlbench::reports {
namespace {

namespace fs = std::filesystem;
using Kind = Transaction::Kind;

// How many runs there are: one that a damaged page hides is missed.
std::int64_t counted_runs(const Connection& db) {
  Statement state(db, "SELECT runs, seal FROM state");
  if (!state.next()) throw unusable(db.file(), kDamaged);
  const std::int64_t runs = state.integer();
  state.check_seal();
  return runs;
}

void count_runs(const Connection& db, std::int64_t change) {
  const std::int64_t runs = counted_runs(db) + change;
  Statement(db, "UPDATE state SET runs = ?, seal = ?").bind(runs).bind_seal().finish();
}

// All of them are read before any is chosen: one that is damaged might not be what a filter looks for.
void require_all_runs(const Connection& db) {
  Statement found(db, "SELECT * FROM run NOT INDEXED ORDER BY id");
  std::int64_t runs = 0;
  for (RunId before = 0; found.next(); ++runs) {
    const RunId id = read_head(found).id;
    if (id <= before) throw unusable(db.file(), kDamaged);
    before = id;
  }
  if (runs != counted_runs(db)) throw unusable(db.file(), kDamaged);
}

// The document's own, the caller's where it says something, and now where nobody knows when.
RunHead complete(const RunHead& given, const RunHead& own) {
  RunHead head = given;
  head.kind = own.kind;
  head.verdict = own.verdict;
  const auto fill = [](std::string& field, const std::string& otherwise) {
    if (field.empty()) field = otherwise;
  };
  fill(head.started, own.started);
  fill(head.host, own.host);
  fill(head.processor, own.processor);
  fill(head.program, own.program);
  fill(head.command, own.command);
  return head;
}

std::optional<RunId> find_known(const Connection& db, const RunHead& head, const std::string& digest) {
  Statement found(db,
                  "SELECT run FROM document JOIN run ON run.id = document.run WHERE digest = ? AND ? IN ('', started) "
                  "AND ? IN ('', revision) AND ? IN ('', branch) AND ? IN ('', label) ORDER BY run LIMIT 1");
  found.bind_bytes(digest).bind(head.started).bind(head.revision).bind(head.branch).bind(head.label);
  if (!found.next()) return std::nullopt;
  return found.integer();
}

void bind_values(Statement& statement, const Selection& selection) {
  for (const auto& value : selection.values) std::visit([&](const auto& v) { statement.bind(v); }, value);
}

RunContents storable_contents_of(const std::string& document, const std::string& where) {
  if (document.size() > kLargestDocument)
    throw request_error("file.too_large",
                        fmt::format("{}: {} bytes, at most {} are kept", where, document.size(), kLargestDocument));
  return contents_of(document, where);
}

// The whole run; gives `head` its id.
void insert(const Connection& db, RunHead& head, const RunContents& contents, const std::string& digest,
            const std::string& document) {
  head.id = db.number("SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'run'");
  insert_records(db, head, contents);
  insert_document(db, head.id, digest, document);
  count_runs(db, 1);
}

constexpr std::chrono::seconds kLongestBusy{60};

// One that may only be read, in a folder that may not be written: SQLite has no place for what readers and writers tell
// each other there. Without a log there is no writer.
Connection open_existing(const fs::path& file, Store::Access access) {
  Connection connection(file, Connection::Open::existing, kLongestBusy);
  std::error_code ignored;
  const bool log = fs::exists(file.string() + "-wal", ignored);
  if (access == Store::Access::write || log || !connection.read_only()) return connection;
  return Connection(file, Connection::Open::immutable, kLongestBusy);
}

}  // namespace

std::string_view name(StoredKind kind) { return kind == StoredKind::benchmark ? "bench" : "verify"; }

struct Store::Database {
  Connection connection;

  // All records of a table that belong to the runs of the filter. `count` is the column of run that says how many.
  template <class Read>
  auto records(const RunFilter& filter, const char* table, const char* count, const char* order,
               const Read& read) const {
    const Selection selection = selection_of(filter);
    Transaction snapshot(connection, Kind::read);
    require_all_runs(connection);
    Statement expected(connection,
                       fmt::format("SELECT coalesce(sum({}), 0) FROM run WHERE id IN ({})", count, selection.sql));
    bind_values(expected, selection);
    const std::size_t size = expected.next() ? static_cast<std::size_t>(expected.integer()) : 0;
    Statement found(connection, fmt::format("SELECT t.* FROM {} t JOIN run ON run.id = t.run WHERE t.run IN ({}) "
                                            "ORDER BY run.started, run.id, {}",
                                            table, selection.sql, order));
    bind_values(found, selection);
    Places places(connection);
    std::vector<decltype(read(found, places))> out;
    while (found.next()) out.push_back(read(found, places));
    if (out.size() != size) throw unusable(connection.file(), kDamaged);
    return out;
  }
};

Store::Store(const fs::path& file, Access access) {
  const std::string named = one_line(file.string());
  std::error_code error;
  const fs::file_status status = fs::status(file, error);
  if (error && status.type() != fs::file_type::not_found) throw unusable(named, error.message());
  if (fs::exists(status) && !fs::is_regular_file(status)) throw unusable(named, "is no regular file");
  if (fs::exists(status) && fs::file_size(file, error) == 0)
    throw unusable(named, "is empty: remove it, and a store is made in its place");
  if (!fs::exists(status) && access == Access::read)
    throw unusable(named, "is not there; mlbench verify and mlbench bench make it");
  if (!fs::exists(status)) make_store(file, kLongestBusy);
  database_ = std::make_unique<Database>(Database{open_existing(file, access)});
  const Connection& db = database_->connection;
  const std::int64_t version = require_store(db);
  if (access == Access::write && db.read_only()) throw unusable(named, "may be read, not written");
  if (version < schema_version()) migrate(db);
  db.run(access == Access::read ? "PRAGMA query_only = ON" : "PRAGMA synchronous = FULL");
}

Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;

fs::path Store::default_file() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (const char* named = std::getenv("MLBENCH_STORE"); named != nullptr)
    return std::string_view(named) == "none" ? fs::path() : fs::path(named);
  const fs::path below = fs::path("mlbench") / "history.db";
  // The specification of these folders has no place for a relative one.
  if (const fs::path data = variable("XDG_DATA_HOME"); data.is_absolute()) return data / below;
  if (const fs::path home = variable("HOME"); home.is_absolute()) return home / ".local" / "share" / below;
  return {};
}

RunId Store::add(const RunHead& given, const std::string& document, const Environment& environment) {
  RunContents contents = storable_contents_of(document, "document");
  if (contents.facts.empty()) contents.facts = environment.facts;
  RunHead head = complete(given, contents.head);
  if (head.started.empty()) head.started = utc_text(std::time(nullptr));
  Transaction transaction(database_->connection, Kind::write);
  insert(database_->connection, head, contents, digest_of(document), document);
  transaction.commit();
  return head.id;
}

Store::Imported Store::import(const RunHead& given, const std::string& document, const std::string& where,
                              const std::string& otherwise_started) {
  const RunContents contents = storable_contents_of(document, where);
  RunHead head = complete(given, contents.head);
  const std::string digest = digest_of(document);
  Transaction transaction(database_->connection, Kind::write);
  if (const auto known = find_known(database_->connection, head, digest)) return {*known, true};
  if (head.started.empty()) head.started = otherwise_started.empty() ? utc_text(std::time(nullptr)) : otherwise_started;
  insert(database_->connection, head, contents, digest, document);
  transaction.commit();
  return {head.id, false};
}

std::vector<RunHead> Store::runs(const RunFilter& filter) const {
  const Connection& db = database_->connection;
  const Selection selection = selection_of(filter);
  Transaction snapshot(db, Kind::read);
  require_all_runs(db);
  Statement found(db, fmt::format("SELECT * FROM run WHERE id IN ({}) ORDER BY started, id", selection.sql));
  bind_values(found, selection);
  std::vector<RunHead> out;
  while (found.next()) out.push_back(read_head(found));
  return out;
}

std::vector<StoredVerification> Store::verifications(const RunFilter& filter) const {
  return database_->records(filter, "verification", "verifications", "part", read_verification);
}

std::vector<StoredTap> Store::taps(const RunFilter& filter) const {
  return database_->records(filter, "tap", "taps", "place", read_tap);
}

std::vector<StoredRow> Store::rows(const RunFilter& filter) const {
  return database_->records(filter, "benchmark", "rows", "place", read_row);
}

std::vector<StoredProbe> Store::probes(const RunFilter& filter) const {
  return database_->records(filter, "probe", "probes", "place", read_probe);
}

std::vector<StoredFact> Store::facts(const RunFilter& filter) const {
  return database_->records(filter, "fact", "facts", "place", read_fact);
}

std::vector<std::pair<std::string, std::string>> Store::environment(RunId run) const {
  std::vector<std::pair<std::string, std::string>> out;
  for (StoredFact& fact : facts({.ids = {run}})) out.emplace_back(std::move(fact.name), std::move(fact.value));
  return out;
}

std::string Store::document(RunId run) const {
  const Connection& db = database_->connection;
  Statement found(db, "SELECT * FROM document WHERE run = ?");
  found.bind(run);
  if (!found.next()) {
    Statement there(db, "SELECT 1 FROM run WHERE id = ?");
    if (there.bind(run).next()) throw unusable(db.file(), kDamaged);
    throw request_error("store.missing",
                        fmt::format("{}: has no run {}; mlbench history list shows those it has", db.file(), run));
  }
  (void)found.integer();
  const std::string digest = found.bytes();
  const std::int64_t size = found.integer();
  found.check_seal();
  const auto text = inflated(found.bytes(), static_cast<std::size_t>(size));
  if (!text || digest_of(*text) != digest) throw unusable(db.file(), kDamaged);
  return *text;
}

std::size_t Store::remove(const RunFilter& filter) {
  const Connection& db = database_->connection;
  const Selection selection = selection_of(filter);
  Transaction transaction(db, Kind::write);
  const std::int64_t before = db.number("SELECT count(*) FROM run NOT INDEXED");
  Statement removal(db, fmt::format("DELETE FROM run WHERE id IN ({})", selection.sql));
  bind_values(removal, selection);
  removal.finish();
  const std::int64_t removed = before - db.number("SELECT count(*) FROM run NOT INDEXED");
  count_runs(db, -removed);
  db.run("PRAGMA incremental_vacuum");
  transaction.commit();
  db.run("PRAGMA wal_checkpoint(TRUNCATE)");
  return static_cast<std::size_t>(removed);
}

}  // namespace mlbench::reports
