// The commands under `mlbench golden`, a file each.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cli/command.h"
#include "golden/hf_layout.h"

namespace mlbench::cli {

// Each adds its command to `golden`; when it is the one that was named, `action` is set.
void add_golden_make(CLI::App& golden, Action& action);
void add_golden_info(CLI::App& golden, Action& action);
void add_golden_diff(CLI::App& golden, Action& action);
void add_golden_check(CLI::App& golden, Action& action);

// read_hf_layout() of a file that is a golden: golden.format where no result has a known tap.
[[nodiscard]] golden::HfGolden read_hf_golden(golden::GoldenFile& file);

[[nodiscard]] std::string bytes_text(std::uint64_t bytes);  // "12.3 MB"

// A text of a file as it may stand in a table: one line, at most `limit` bytes long.
[[nodiscard]] std::string cell_text(std::string_view text, std::size_t limit = 100);

}  // namespace mlbench::cli
