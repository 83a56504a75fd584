#include "core/system_files.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include "core/error.h"

namespace mlbench::machine {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostBytes = std::size_t{4} << 20U;
constexpr std::size_t kLongestFact = 200;
constexpr double kPerDegree = 1000.0, kHottest = 200.0;
constexpr std::string_view kBlanks = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

}  // namespace

std::string presentable(std::string_view text) {
  const std::string quoted = in_quotes(trimmed(text), kLongestFact);
  return quoted.substr(1, quoted.size() - 2);
}

std::vector<std::string> lines_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string text(kMostBytes, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  std::istringstream rest(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(rest, line);) lines.push_back(line);
  return lines;
}

std::string line_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  char text[4096] = {};
  stream.read(&text[0], sizeof text);
  const std::string_view all(&text[0], static_cast<std::size_t>(stream.gcount()));
  return presentable(all.substr(0, all.find('\n')));
}

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end ? std::optional(value) : std::nullopt;
}

std::optional<std::uint64_t> number_of(const std::filesystem::path& file) { return number_in(line_of(file)); }

std::optional<double> leading_number(std::string_view text) {
  double value = 0.0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  const bool good = error == std::errc() && value >= 0.0 && value < 1e300;  // not "nan" and "inf", which it reads
  return good ? std::optional(value) : std::nullopt;
}

std::string field_of(const std::vector<std::string>& lines, std::string_view name, char separator) {
  for (const std::string& line : lines) {
    const std::size_t at = line.find(separator);
    if (at != std::string::npos && trimmed(line.substr(0, at)) == name) return presentable(line.substr(at + 1));
  }
  return "";
}

std::vector<int> numbers_in_list(std::string_view text) {
  constexpr std::uint64_t kMost = 65536;
  std::vector<int> out;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(part.size() < text.size() ? part.size() + 1 : text.size());
    const std::size_t dash = part.find('-');
    const auto first = number_in(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : number_in(part.substr(dash + 1));
    if (!first || !last || *last < *first || *last >= kMost) return {};
    for (std::uint64_t number = *first; number <= *last; ++number) out.push_back(static_cast<int>(number));
    if (out.size() > kMost) return {};
  }
  return out;
}

std::vector<fs::path> entries_of(const fs::path& folder, std::string_view prefix) {
  std::vector<fs::path> out;
  std::error_code none;
  for (fs::directory_iterator at(folder, none), end; !none && at != end; at.increment(none)) {
    if (at->path().filename().string().starts_with(prefix)) out.push_back(at->path());
  }
  std::ranges::sort(out);
  return out;
}

std::optional<double> processor_celsius(const fs::path& sys) {
  std::vector<fs::path> files;
  for (const fs::path& zone : entries_of(sys / "class/thermal", "thermal_zone")) files.push_back(zone / "temp");
  for (const fs::path& chip : entries_of(sys / "class/hwmon", "hwmon")) {
    const std::string name = line_of(chip / "name");
    if (name != "coretemp" && name != "k10temp" && name != "zenpower") continue;
    for (const fs::path& file : entries_of(chip, "temp")) {
      if (file.filename().string().ends_with("_input")) files.push_back(file);
    }
  }
  std::optional<double> out;
  for (const fs::path& file : files) {
    const double degrees = static_cast<double>(number_of(file).value_or(0)) / kPerDegree;
    if (degrees > 0.0 && degrees < kHottest) out = std::max(out.value_or(0.0), degrees);
  }
  return out;
}

}  // namespace mlbench::machine
