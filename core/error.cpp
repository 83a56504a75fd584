#include "core/error.h"

#include <array>
#include <utility>

#include <fmt/format.h>

namespace mlbench {
namespace {

// Length in bytes of the well-formed UTF-8 sequence at the start of `text`, 0 where there is none
// (Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF) or a control character.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto trails = [&](std::size_t count) {
    for (std::size_t i = 2; i <= count; ++i) {
      if ((byte(i) & 0xC0U) != 0x80U) return false;
    }
    return true;
  };
  const unsigned lead = byte(0);
  const unsigned second = byte(1);
  if (lead == 0xC2 && second < 0xA0) return 0;  // U+0080 to U+009F: control characters
  if (lead >= 0xC2 && lead <= 0xDF) return second >= 0x80 && second <= 0xBF ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const unsigned low = lead == 0xE0 ? 0xA0 : 0x80;
    const unsigned high = lead == 0xED ? 0x9F : 0xBF;
    return second >= low && second <= high && trails(2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const unsigned low = lead == 0xF0 ? 0x90 : 0x80;
    const unsigned high = lead == 0xF4 ? 0x8F : 0xBF;
    return second >= low && second <= high && trails(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::request: return 2;
    case ErrorKind::unavailable: return 3;
    case ErrorKind::internal: return 4;
  }
  return 4;
}

Error::Error(ErrorKind kind, std::string code, const std::string& message)
    : std::runtime_error(fmt::format("{}: {}", code, message)),
      kind_(kind),
      code_(std::move(code)),
      message_(message) {}

Error request_error(std::string code, const std::string& message) {
  return Error(ErrorKind::request, std::move(code), message);
}

std::string in_quotes(std::string_view text, std::size_t limit) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size();) {
    if (i >= limit) {
      out += "...";
      break;
    }
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == '"' || byte == '\\') {
      out += '\\';
      out += text[i++];
    } else if (byte >= 0x20 && byte < 0x7F) {
      out += text[i++];
    } else if (const std::size_t length = utf8_length(text.substr(i)); length > 0) {
      out += text.substr(i, length);
      i += length;
    } else {
      out += fmt::format("\\x{:02x}", byte);
      ++i;
    }
  }
  out += '"';
  return out;
}

std::string one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace mlbench
