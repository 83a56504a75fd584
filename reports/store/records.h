// A run's records in the tables of the store (schema.h): every one is written and read in one order of columns.
#pragma once

#include <cstdint>
#include <string>

#include "reports/store/contents.h"
#include "reports/store/database.h"
#include "reports/store/store.h"

namespace mlbench::reports {

// The second column of a run's records counts them: one that is there twice, or not, is noticed.
class Places {
 public:
  explicit Places(const Connection& db) : db_(&db) {}

  // Takes the next column, of a record of this run. Throws store.unusable.
  void check(Statement& s, RunId run);

 private:
  const Connection* db_;
  RunId run_ = 0;
  std::int64_t next_ = 0;
};

// The run itself, under head.id, and what belongs to it.
void insert_records(const Connection& db, const RunHead& head, const RunContents& contents);
void insert_document(const Connection& db, RunId run, const std::string& digest, const std::string& document);

// The record that the statement stands at, all its columns. Throw store.unusable where its seal does not hold.
[[nodiscard]] RunHead read_head(Statement& s);
[[nodiscard]] StoredVerification read_verification(Statement& s, Places& places);
[[nodiscard]] StoredTap read_tap(Statement& s, Places& places);
[[nodiscard]] StoredRow read_row(Statement& s, Places& places);
[[nodiscard]] StoredProbe read_probe(Statement& s, Places& places);
[[nodiscard]] StoredFact read_fact(Statement& s, Places& places);

}  // namespace mlbench::reports
