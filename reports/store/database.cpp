#include "reports/store/database.h"

#include <sqlite3.h>

#include <array>
#include <bit>
#include <cctype>
#include <cmath>
#include <cstring>
#include <new>

#include <fmt/format.h>

#include "core/hash.h"

namespace mlbench::reports {
namespace {

// As the path of a URI.
std::string escaped(const std::string& path) {
  std::string out;
  for (const char c : path) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '/')
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

// What SQLite's code means for the file, in words that say what to do.
std::string reason_of(sqlite3* database, int code) {
  const int system = database == nullptr ? 0 : sqlite3_system_errno(database);
  const std::string words = system == 0 ? "" : fmt::format(": {}", std::strerror(system));
  switch (code & 0xFF) {
    case SQLITE_NOTADB: return "is no store of mlbench";
    case SQLITE_CORRUPT: return kDamaged;
    case SQLITE_FULL: return "the disk is full, or the file may not grow further";
    case SQLITE_READONLY: return "may be read, not written";
    case SQLITE_CANTOPEN: return "cannot be opened" + words;
    case SQLITE_IOERR: return "the system fails to read or write it" + words;
    default: return database == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(database);
  }
}

[[noreturn]] void fail(sqlite3* database, const std::string& file, int code) {
  const int primary = code & 0xFF;
  if (primary == SQLITE_NOMEM) throw std::bad_alloc();
  if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED)
    throw request_error("store.busy", fmt::format("{}: another program holds it; try again", file));
  throw unusable(file, reason_of(database, code));
}

void require(const Connection& connection, int code) {
  if (code != SQLITE_OK && code != SQLITE_ROW && code != SQLITE_DONE) fail(connection.raw(), connection.file(), code);
}

}  // namespace

Error unusable(const std::string& file, const std::string& why) {
  return request_error("store.unusable", fmt::format("{}: {}", file, one_line(why)));
}

// ---- connection ----

void Connection::Close::operator()(sqlite3* database) const noexcept { (void)sqlite3_close_v2(database); }

Connection::Connection(const std::filesystem::path& file, Open how, std::chrono::milliseconds busy)
    : file_(one_line(file.string())) {
  int flags =
      SQLITE_OPEN_EXRESCODE | (how == Open::immutable ? SQLITE_OPEN_READONLY | SQLITE_OPEN_URI : SQLITE_OPEN_READWRITE);
  if (how == Open::new_file) flags |= SQLITE_OPEN_CREATE;
  // Whole: a name such as ":memory:" is a file's, too.
  std::string name = std::filesystem::absolute(file).string();
  if (how == Open::immutable) name = "file://" + escaped(name) + "?immutable=1";
  sqlite3* database = nullptr;
  const int code = sqlite3_open_v2(name.c_str(), &database, flags, nullptr);
  database_.reset(database);
  if (code != SQLITE_OK) fail(database, file_, code);
  require(*this, sqlite3_busy_timeout(raw(), static_cast<int>(busy.count())));
  // A damaged file is to be an error, whatever it claims of its records and of its schema.
  require(*this, sqlite3_db_config(raw(), SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr));
  require(*this, sqlite3_db_config(raw(), SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr));
  run("PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON");
}

void Connection::run(const std::string& sql) const {
  require(*this, sqlite3_exec(raw(), sql.c_str(), nullptr, nullptr, nullptr));
}

std::int64_t Connection::number(const std::string& sql) const {
  Statement statement(*this, sql);
  if (!statement.next()) throw unusable(file_, kDamaged);
  return statement.integer();
}

bool Connection::read_only() const { return sqlite3_db_readonly(raw(), "main") == 1; }

// ---- statement ----

void Statement::Finalize::operator()(sqlite3_stmt* statement) const noexcept { (void)sqlite3_finalize(statement); }

Statement::Statement(const Connection& connection, const std::string& sql)
    : connection_(&connection), seal_(kFnv1aOfNothing) {
  sqlite3_stmt* statement = nullptr;
  const int code =
      sqlite3_prepare_v2(connection.raw(), sql.c_str(), static_cast<int>(sql.size()) + 1, &statement, nullptr);
  statement_.reset(statement);
  require(connection, code);
}

void Statement::bound(int code) const { require(*connection_, code); }

void Statement::mix(char type, std::string_view value) {
  mix(type, value.size());
  seal_ = fnv1a(value, seal_);
}

void Statement::mix(char type, std::uint64_t value) {
  constexpr std::size_t kBytes = 8, kBits = 8;
  std::array<char, kBytes + 1> bytes{type};
  for (std::size_t i = 0; i < kBytes; ++i) bytes[i + 1] = static_cast<char>((value >> (i * kBits)) & 0xFFU);
  seal_ = fnv1a({bytes.data(), bytes.size()}, seal_);
}

// SQLite keeps no sign of a zero.
void Statement::mix(double value) { mix('r', std::bit_cast<std::uint64_t>(value == 0.0 ? 0.0 : value)); }

Statement& Statement::bind(std::int64_t value) {
  mix('i', static_cast<std::uint64_t>(value));
  bound(sqlite3_bind_int64(statement_.get(), ++parameter_, value));
  return *this;
}

Statement& Statement::bind(double value) { return bind(std::optional(value)); }

Statement& Statement::bind(std::optional<double> value) {
  ++parameter_;
  if (value && !std::isnan(*value)) {
    mix(*value);
    bound(sqlite3_bind_double(statement_.get(), parameter_, *value));
  } else {
    mix('n', std::uint64_t{0});
    bound(sqlite3_bind_null(statement_.get(), parameter_));
  }
  return *this;
}

Statement& Statement::bind(const std::string& value) {
  mix('t', value);
  bound(sqlite3_bind_text64(statement_.get(), ++parameter_, value.data(), value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
  return *this;
}

Statement& Statement::bind_bytes(std::string_view value) {
  mix('b', value);
  bound(sqlite3_bind_blob64(statement_.get(), ++parameter_, value.data(), value.size(), SQLITE_TRANSIENT));
  return *this;
}

Statement& Statement::bind_seal() {
  bound(sqlite3_bind_int64(statement_.get(), ++parameter_, static_cast<std::int64_t>(seal_)));
  return *this;
}

bool Statement::next() {
  column_ = 0;
  seal_ = kFnv1aOfNothing;
  const int code = sqlite3_step(statement_.get());
  require(*connection_, code);
  return code == SQLITE_ROW;
}

void Statement::finish() {
  while (next()) {
  }
  bound(sqlite3_reset(statement_.get()));
  parameter_ = 0;
}

int Statement::column(int type) {
  if (sqlite3_column_type(statement_.get(), column_) != type) throw unusable(connection_->file(), kDamaged);
  return column_++;
}

std::int64_t Statement::integer() {
  const std::int64_t value = sqlite3_column_int64(statement_.get(), column(SQLITE_INTEGER));
  mix('i', static_cast<std::uint64_t>(value));
  return value;
}

double Statement::real() {
  const double value = sqlite3_column_double(statement_.get(), column(SQLITE_FLOAT));
  mix(value);
  return value;
}

std::optional<double> Statement::real_or_null() {
  if (sqlite3_column_type(statement_.get(), column_) != SQLITE_NULL) return real();
  ++column_;
  mix('n', std::uint64_t{0});
  return std::nullopt;
}

std::string Statement::text() {
  const int at = column(SQLITE_TEXT);
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), at));
  if (data == nullptr) throw std::bad_alloc();
  std::string value(data, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), at)));
  mix('t', value);
  return value;
}

std::string Statement::bytes() {
  const int at = column(SQLITE_BLOB);
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_.get(), at));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), at));
  std::string value = size == 0 ? std::string() : std::string(data, size);
  mix('b', value);
  return value;
}

void Statement::check_seal() {
  const std::uint64_t seal = seal_;
  if (static_cast<std::uint64_t>(integer()) != seal) throw unusable(connection_->file(), kDamaged);
}

// ---- transaction ----

Transaction::Transaction(const Connection& connection, Kind kind) : connection_(&connection) {
  connection.run(kind == Kind::write ? "BEGIN IMMEDIATE" : "BEGIN");
}

Transaction::~Transaction() {
  // An error may have rolled it back already.
  if (open_ && sqlite3_get_autocommit(connection_->raw()) == 0)
    (void)sqlite3_exec(connection_->raw(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Transaction::commit() {
  connection_->run("COMMIT");
  open_ = false;
}

}  // namespace mlbench::reports
