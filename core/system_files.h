// Facts from the files that Linux tells them in (/proc, /sys, /etc), which may be missing, and in which anything may
// stand: containers and virtual machines make up their own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mlbench::machine {

// Text as a fact may stand in a report: without blanks at its ends, control characters and what is no UTF-8 escaped,
// cut at 200 bytes.
[[nodiscard]] std::string presentable(std::string_view text);

// The lines of a file, of its first 4 MiB; none where it cannot be read.
[[nodiscard]] std::vector<std::string> lines_of(const std::filesystem::path& file);
// Its first line, presentable; "" where it cannot be read.
[[nodiscard]] std::string line_of(const std::filesystem::path& file);
// A first line that is a whole number, and nothing else.
[[nodiscard]] std::optional<std::uint64_t> number_of(const std::filesystem::path& file);
[[nodiscard]] std::optional<std::uint64_t> number_in(std::string_view text);
// A number at the beginning of the text, with a fraction or without: "0.52 0.58 ..". At least 0.
[[nodiscard]] std::optional<double> leading_number(std::string_view text);

// What a folder has whose name begins so, sorted; nothing where it cannot be read.
[[nodiscard]] std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder,
                                                            std::string_view prefix);

// The value of the first line "NAME<blanks>SEPARATOR VALUE"; "" where there is none.
[[nodiscard]] std::string field_of(const std::vector<std::string>& lines, std::string_view name, char separator = ':');

// "0-3,8" as numbers, ascending; none where the text is something else, or lists more than 65536.
[[nodiscard]] std::vector<int> numbers_in_list(std::string_view text);

// The hottest of what measures the processor, in degrees; nothing where nothing does. A sensor without a wire, which
// reads 200 and more, or none above 0, does not count.
[[nodiscard]] std::optional<double> processor_celsius(const std::filesystem::path& sys);

}  // namespace mlbench::machine
