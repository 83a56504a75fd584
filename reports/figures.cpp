#include "reports/figures.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::reports {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr auto kReplace = json::error_handler_t::replace;

bool is_alnum(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

// Whether `c`, which stands behind `before`, is plain text to Markdown and to GitHub. An underscore inside a word
// emphasizes nothing; "www." and "://" make links, "@" and "#" mention people and issues.
bool is_plain(char c, char before) {
  if (is_alnum(c) || (static_cast<unsigned char>(c) & 0x80U) != 0) return true;
  if (c == '_') return is_alnum(before);
  if (c == '.') return before != 'w' && before != 'W';
  return c == ' ' || c == '/' || c == ',' || c == '=' || c == '-';
}

std::size_t longest_run(std::string_view text, char of) {
  std::size_t longest = 0, run = 0;
  for (const char c : text) {
    run = c == of ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  return longest;
}

}  // namespace

std::string number(double value) { return std::isfinite(value) ? fmt::format("{:.3g}", value) : "not finite"; }

ordered_json finite(double value) { return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr); }

bool worse(double a, double b) { return !std::isnan(b) && (std::isnan(a) || a > b); }

std::string counted(long long count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string clean_text(std::string_view text) {
  std::string out = json::parse(json(text).dump(-1, ' ', false, kReplace)).get<std::string>();
  std::ranges::replace_if(
      out, [](unsigned char c) { return (c < 0x20 && c != '\t' && c != '\n') || c == 0x7F; }, '?');
  return out;
}

std::string html_text(std::string_view text) {
  std::string out;
  for (const char c : clean_text(text)) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string markdown_code(std::string_view text) {
  if (text.empty()) return "";
  std::string out = "<code>";
  char before = ' ';
  for (const char c : clean_text(one_line(text))) {
    out += is_plain(c, before) ? std::string(1, c) : fmt::format("&#{};", static_cast<int>(c));
    before = c;
  }
  return out + "</code>";
}

std::string markdown_block(std::string_view text) {
  const std::string clean = clean_text(text);
  const std::string fence(std::max<std::size_t>(3, longest_run(clean, '`') + 1), '`');
  return fmt::format("{}\n{}\n{}\n", fence, clean, fence);
}

std::string script_json(const ordered_json& value) {
  std::string out;
  for (const char c : value.dump(-1, ' ', true, kReplace)) {  // ASCII: JavaScript's line separators are escaped, too
    switch (c) {
      case '<': out += "\\u003c"; break;
      case '>': out += "\\u003e"; break;
      case '&': out += "\\u0026"; break;
      default: out += c;
    }
  }
  return out;
}

}  // namespace mlbench::reports
