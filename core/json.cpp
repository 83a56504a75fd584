#include "core/json.h"

#include <set>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::size_t kShown = 80;

// nlohmann's messages carry a bracketed identifier in front and may quote what they last read.
std::string parser_reason(const nlohmann::json::exception& error) {
  std::string text = error.what();
  if (const auto end = text.find("] "); end != std::string::npos) text.erase(0, end + 2);
  std::string line;
  for (const char c : text) line += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return line;
}

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& where, const std::string& code,
                          const std::string& number_code) {
  using Event = nlohmann::json::parse_event_t;
  std::vector<std::set<std::string>> names;  // of the objects that are open
  const auto check = [&](int depth, Event event, nlohmann::json& value) {
    if (depth > kMaxDepth) throw request_error(code, fmt::format("{}: nested deeper than {}", where, kMaxDepth));
    if (event == Event::object_start) names.emplace_back();
    if (event == Event::object_end) names.pop_back();
    if (event == Event::key && !names.back().insert(value.get<std::string>()).second) {
      throw request_error(code, fmt::format("{}: name {} is given twice", where, in_quotes(value.get<std::string>())));
    }
    return true;
  };
  try {
    return nlohmann::json::parse(text.begin(), text.end(), check);
  } catch (const nlohmann::json::out_of_range& error) {
    throw request_error(number_code, fmt::format("{}: {}", where, parser_reason(error)));
  } catch (const nlohmann::json::exception& error) {
    throw request_error(code, fmt::format("{}: not valid JSON: {}", where, parser_reason(error)));
  }
}

std::string shown(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kShown) text = text.substr(0, kShown) + "...";
  return text;
}

}  // namespace mlbench
