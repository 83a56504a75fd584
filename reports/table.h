// A plain-text table: columns as wide as their widest cell.
#pragma once

#include <string>
#include <vector>

namespace mlbench::reports {

enum class Align { left, right };

class Table {
 public:
  struct Column {
    std::string title;
    Align align;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // As many cells as columns. Colour sequences in a cell take no width.
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  [[nodiscard]] std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace mlbench::reports
