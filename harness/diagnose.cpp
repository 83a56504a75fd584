#include "harness/diagnose.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <set>
#include <vector>

#include <fmt/format.h>

namespace mlbench::harness {
namespace {

using ref::Tensor;

// The elements that stray, and what they have in common.
struct Straying {
  std::vector<std::size_t> elements;
  std::set<Index> rows, heads, columns;
  Index total_rows = 0, total_heads = 1, total_columns = 0;
};

Straying straying_of(const Sight& sight) {
  Straying out;
  const bool by_row = *sight.layout == TapLayout::rows;
  out.total_columns = sight.expected.cols();
  out.total_heads = by_row ? 1 : sight.expected.dim(0);
  out.total_rows = by_row ? sight.expected.rows() : sight.expected.dim(1);
  for (Index i = 0; i < sight.expected.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (std::fabs(sight.got.values()[at] - sight.expected.values()[at]) <= sight.limit(i)) continue;
    out.elements.push_back(at);
    const Index row = i / out.total_columns;
    out.rows.insert(row % out.total_rows);
    out.heads.insert(row / out.total_rows);
    out.columns.insert(i % out.total_columns);
  }
  return out;
}

// One factor, or one difference, that explains nearly all of the error of the straying elements.
std::optional<std::string> common_change(const Sight& sight, const Straying& straying) {
  double products = 0.0, squares = 0.0, differences = 0.0, error = 0.0;
  for (const std::size_t i : straying.elements) {
    const double want = sight.expected.values()[i], got = sight.got.values()[i];
    products += want * got;
    squares += want * want;
    differences += got - want;
    error += (got - want) * (got - want);
  }
  if (straying.elements.size() < 4 || !std::isfinite(error) || error == 0.0) return std::nullopt;
  const double factor = squares > 0.0 ? products / squares : 1.0;
  const double shift = differences / static_cast<double>(straying.elements.size());
  double off_scale = 0.0, off_shift = 0.0;
  for (const std::size_t i : straying.elements) {
    const double want = sight.expected.values()[i], got = sight.got.values()[i];
    off_scale += (got - factor * want) * (got - factor * want);
    off_shift += (got - want - shift) * (got - want - shift);
  }
  constexpr double kExplained = 1e-2;  // of the squared error may be left
  if (off_scale <= kExplained * error) return fmt::format("scaled by {:.4g}", factor);
  if (off_shift <= kExplained * error) return fmt::format("shifted by {:.4g}", shift);
  return std::nullopt;
}

// `what` 3 holds what belongs to `what` 5. `part` gives the values of one of them in a tensor.
std::optional<std::string> exchanged(const char* what, const std::set<Index>& straying, Index total,
                                     const std::function<std::vector<double>(const Tensor&, Index)>& part,
                                     const Sight& sight) {
  if (straying.empty() || total < 2) return std::nullopt;
  const Index first = *straying.begin();
  const std::vector<double> got = part(sight.got, first), own = part(sight.expected, first);
  const auto distance = [](const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
  };
  constexpr double kNearer = 1e-2;  // of the squared distance to its own values
  const double to_own = distance(got, own);
  for (Index other = 0; other < total; ++other) {
    if (other == first || !(distance(got, part(sight.expected, other)) <= kNearer * to_own)) continue;
    return fmt::format("{} {} holds the values of {} {}", what, first, what, other);
  }
  return std::nullopt;
}

std::vector<double> row_of(const Tensor& x, const Straying& s, Index row) {
  std::vector<double> out;
  for (Index h = 0; h < s.total_heads; ++h) {
    const auto values = x.row(h * s.total_rows + row);
    out.insert(out.end(), values.begin(), values.end());
  }
  return out;
}

std::vector<double> head_of(const Tensor& x, const Straying& s, Index head) {
  std::vector<double> out;
  for (Index t = 0; t < s.total_rows; ++t) {
    const auto values = x.row(head * s.total_rows + t);
    out.insert(out.end(), values.begin(), values.end());
  }
  return out;
}

std::vector<double> column_of(const Tensor& x, Index column) {
  std::vector<double> out;
  for (Index r = 0; r < x.rows(); ++r) out.push_back(x.row(r)[static_cast<std::size_t>(column)]);
  return out;
}

std::string where(const Straying& s) {
  if (s.heads.size() == 1 && s.total_heads > 1) return fmt::format("head {} alone", *s.heads.begin());
  if (s.columns.size() == 1 && s.total_columns > 1) return fmt::format("element {} alone", *s.columns.begin());
  if (s.rows.size() == 1 && s.total_rows > 1) return fmt::format("row {} alone", *s.rows.begin());
  const Index first = *s.rows.begin();
  if (first > 0 && static_cast<Index>(s.rows.size()) == s.total_rows - first)
    return fmt::format("from row {} on", first);
  return "";
}

}  // namespace

std::string diagnose(const Sight& sight) {
  if (sight.expected.size() == 0 || sight.got.shape() != sight.expected.shape()) return "";
  const Straying straying = straying_of(sight);
  if (straying.elements.empty()) return "";
  const auto got = [&](std::size_t i) { return sight.got.values()[i]; };
  std::string place = where(straying);
  const auto told = [&](const std::string& what) { return place.empty() ? what : fmt::format("{}, {}", what, place); };
  if (std::ranges::any_of(straying.elements, [&](std::size_t i) { return !std::isfinite(got(i)); }))
    return told("values that are no numbers");
  if (std::ranges::all_of(straying.elements, [&](std::size_t i) { return got(i) == 0.0; })) return told("zeros");
  if (const auto change = common_change(sight, straying)) return told(*change);
  const auto rows = exchanged(
      "row", straying.rows, straying.total_rows, [&](const Tensor& x, Index row) { return row_of(x, straying, row); },
      sight);
  if (rows) return *rows;
  const auto heads = exchanged(
      "head", straying.heads, straying.total_heads,
      [&](const Tensor& x, Index head) { return head_of(x, straying, head); }, sight);
  if (heads) return *heads;
  if (straying.total_rows > 1 && static_cast<Index>(straying.columns.size()) < straying.total_columns) {
    const auto columns = exchanged("element", straying.columns, straying.total_columns, column_of, sight);
    if (columns) return *columns;
  }
  return place;
}

}  // namespace mlbench::harness
