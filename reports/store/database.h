// SQLite with owners and with every return code looked at. What goes wrong is thrown as store.unusable or store.busy,
// in one line that names the file.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.h"

struct sqlite3;
struct sqlite3_stmt;

namespace mlbench::reports {

inline constexpr const char* kDamaged = "is damaged; restore it from a copy, or move it away";
[[nodiscard]] Error unusable(const std::string& file, const std::string& why);

class Connection {
 public:
  // immutable: read without locks, of a file that nobody can be writing.
  enum class Open { existing, new_file, immutable };

  Connection(const std::filesystem::path& file, Open how, std::chrono::milliseconds busy);

  void run(const std::string& sql) const;                           // statements, whose rows are passed over
  [[nodiscard]] std::int64_t number(const std::string& sql) const;  // the one value of the one row
  [[nodiscard]] bool read_only() const;
  [[nodiscard]] const std::string& file() const { return file_; }  // as it is named in messages
  [[nodiscard]] sqlite3* raw() const { return database_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* database) const noexcept;
  };
  std::string file_;
  std::unique_ptr<sqlite3, Close> database_;
};

// Values are bound, and columns read, from left to right. A record may end in a seal, a hash of the values before it:
// what a disk changed in place is noticed.
class Statement {
 public:
  Statement(const Connection& connection, const std::string& sql);

  Statement& bind(std::int64_t value);
  Statement& bind(double value);
  Statement& bind(std::optional<double> value);  // nothing is NULL, as not a number is
  Statement& bind(const std::string& value);
  Statement& bind_bytes(std::string_view value);
  Statement& bind_seal();

  [[nodiscard]] bool next();  // whether there is a row
  void finish();              // to the end; then it can be bound again

  [[nodiscard]] std::int64_t integer();
  [[nodiscard]] double real();
  [[nodiscard]] std::optional<double> real_or_null();
  [[nodiscard]] std::string text();
  [[nodiscard]] std::string bytes();
  void check_seal();

 private:
  int column(int type);  // the next one's index; throws unless it holds such a value
  void bound(int code) const;
  void mix(char type, std::string_view value);
  void mix(char type, std::uint64_t value);
  void mix(double value);

  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept;
  };
  const Connection* connection_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int parameter_ = 0, column_ = 0;
  std::uint64_t seal_;
};

// Rolled back unless it was committed.
class Transaction {
 public:
  enum class Kind { read, write };  // write: waits for other writers now, not when it has work to lose

  Transaction(const Connection& connection, Kind kind);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  void commit();

 private:
  const Connection* connection_;
  bool open_ = true;
};

}  // namespace mlbench::reports
