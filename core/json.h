// JSON from files that nobody vouches for.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace mlbench {

// Parses one JSON text. Stricter than the parser alone: a name given twice in an object, nesting deeper than 64, more
// than 8 million values, and numbers that a double cannot hold (too large, or Python's NaN and Infinity) are errors
// too. All are request errors whose one-line message starts with `where`; their code is `code`, for such a number
// `number_code`.
[[nodiscard]] nlohmann::json parse_json(std::string_view text, const std::string& where, const std::string& code,
                                        const std::string& number_code);

// What a value looks like in a one-line message: its JSON text, cut when long.
[[nodiscard]] std::string shown(const nlohmann::json& value);

}  // namespace mlbench
