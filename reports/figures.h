// Numbers and foreign text as the reports show them.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace mlbench::reports {

// "0.25", "1.2e-07"; "not finite".
[[nodiscard]] std::string number(double value);
// Null where it is not finite.
[[nodiscard]] nlohmann::ordered_json finite(double value);
// Whether `a` is a worse ratio than `b`: what is not a number is the worst.
[[nodiscard]] bool worse(double a, double b);
// "1 check", "2 checks".
[[nodiscard]] std::string counted(long long count, std::string_view noun);

// Valid UTF-8 without control characters but tabs and line ends: what HTML and XML have a place for.
[[nodiscard]] std::string clean_text(std::string_view text);
[[nodiscard]] std::string html_text(std::string_view text);
// As code in the middle of a Markdown paragraph or table, one line. What Markdown or GitHub would act on is written as
// character references.
[[nodiscard]] std::string markdown_code(std::string_view text);
// As a fenced block, which no text ends early.
[[nodiscard]] std::string markdown_block(std::string_view text);
// JSON that may stand inside <script>: nothing in it closes the element or opens a comment.
[[nodiscard]] std::string script_json(const nlohmann::ordered_json& json);

}  // namespace mlbench::reports
