// The tables of a store, as docs/history.md describes them, and how a file of an earlier version is brought to this
// one.
#pragma once

#include <chrono>
#include <filesystem>
#include <span>

#include "reports/store/database.h"

namespace mlbench::reports {

inline constexpr std::int64_t kApplicationId = 0x6D6C6273;  // "mlbs"
// Of these, step n leads from version n to n + 1; version 0 is a file without tables.
[[nodiscard]] std::span<const char* const> schema_steps();
[[nodiscard]] std::int64_t schema_version();

// A new store; where there is a file already, nothing happens. Never seen half-made: made beside and linked.
void make_store(const std::filesystem::path& file, std::chrono::milliseconds busy);

// The version of a store. Throws store.unusable unless it is one, of this version or an earlier one.
[[nodiscard]] std::int64_t require_store(const Connection& connection);

// All steps that are left, in one transaction.
void migrate(const Connection& connection);

}  // namespace mlbench::reports
