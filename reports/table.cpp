#include "reports/table.h"

#include <algorithm>
#include <cstddef>

namespace mlbench::reports {
namespace {

// Characters shown: without colour sequences, and UTF-8's trailing bytes counted with their first.
std::size_t width(const std::string& text) {
  std::size_t count = 0;
  bool escape = false;
  for (const char c : text) {
    if (c == '\x1b') escape = true;
    if (!escape && (static_cast<unsigned char>(c) & 0xC0U) != 0x80U) ++count;
    if (escape && c == 'm') escape = false;
  }
  return count;
}

}  // namespace

std::string Table::text() const {
  std::vector<std::vector<std::string>> all;
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(column.title);
  all.push_back(titles);
  all.insert(all.end(), rows_.begin(), rows_.end());

  std::vector<std::size_t> widths(columns_.size());
  for (const auto& row : all) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width(row[c]));
  }
  std::string out;
  for (const auto& row : all) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string fill(widths[c] - width(row[c]), ' ');
      line += columns_[c].align == Align::right ? fill + row[c] : row[c] + fill;
      line += "  ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

}  // namespace mlbench::reports
