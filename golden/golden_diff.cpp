#include "golden/golden_diff.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <tuple>

namespace mlbench::golden {
namespace {

template <class T>
bool same_bits(const Tensor<T>& a, const Tensor<T>& b) {
  return std::ranges::equal(std::as_bytes(a.values()), std::as_bytes(b.values()));
}

// Of two values that are not bit for bit equal.
double distance(double a, double b) {
  if (a == b) return 0.0;  // zeros of two signs
  const double d = std::abs(a - b);
  return std::isfinite(a) && std::isfinite(b) ? d : std::numeric_limits<double>::infinity();
}

void compare_reals(const Tensor<double>& a, const Tensor<double>& b, std::optional<double> rtol, DatasetDiff& diff) {
  for (Index i = 0; i < a.size(); ++i) {
    const double x = a.data()[i];
    const double y = b.data()[i];
    if (std::isfinite(x)) diff.max_a = std::max(diff.max_a, std::abs(x));
    if (std::bit_cast<std::uint64_t>(x) != std::bit_cast<std::uint64_t>(y))
      diff.max_difference = std::max(diff.max_difference, distance(x, y));
  }
  if (same_bits(a, b)) return;
  diff.difference = rtol && diff.relative() <= *rtol ? Difference::within : Difference::values;
}

void compare_integers(const Tensor<std::int64_t>& a, const Tensor<std::int64_t>& b, DatasetDiff& diff) {
  for (Index i = 0; i < a.size(); ++i) {
    const auto x = static_cast<double>(a.data()[i]);
    diff.max_a = std::max(diff.max_a, std::abs(x));
    diff.max_difference = std::max(diff.max_difference, std::abs(x - static_cast<double>(b.data()[i])));
  }
  if (!same_bits(a, b)) diff.difference = Difference::values;
}

DatasetDiff compare(GoldenFile& a, const DatasetInfo& in_a, GoldenFile& b, const DatasetInfo& in_b,
                    std::optional<double> rtol) {
  DatasetDiff diff;
  diff.shape_a = in_a.shape;
  diff.shape_b = in_b.shape;
  if (in_a.kind == ValueKind::other || in_a.kind != in_b.kind) {
    diff.difference = Difference::kind;
  } else if (in_a.shape != in_b.shape) {
    diff.difference = Difference::shape;
  } else if (in_a.kind == ValueKind::real) {
    compare_reals(a.read(in_a), b.read(in_b), rtol, diff);
  } else {
    compare_integers(a.read_integers(in_a), b.read_integers(in_b), diff);
  }
  return diff;
}

template <class Info>
std::map<std::string, const Info*> by_path(const std::vector<Info>& list) {
  std::map<std::string, const Info*> map;
  for (const Info& info : list) map[info.path] = &info;
  return map;
}

void compare_attributes(const std::string& object, const Attributes& a, const Attributes& b,
                        std::vector<AttributeDiff>& out) {
  const auto value = [](const Attributes& attributes, const std::string& name) -> std::optional<std::string> {
    const auto it = attributes.find(name);
    if (it == attributes.end()) return std::nullopt;
    return it->second;
  };
  std::set<std::string> names;
  for (const auto& [name, text] : a) names.insert(name);
  for (const auto& [name, text] : b) names.insert(name);
  names.erase("digest");
  for (const std::string& name : names) {
    if (value(a, name) != value(b, name)) out.push_back({object, name, value(a, name), value(b, name)});
  }
}

template <class Info>
void compare_all_attributes(const std::vector<Info>& a, const std::vector<Info>& b, std::vector<AttributeDiff>& out) {
  const auto in_b = by_path(b);
  for (const Info& info : a) {
    const auto it = in_b.find(info.path);
    if (it != in_b.end()) compare_attributes(info.path, info.attributes, it->second->attributes, out);
  }
}

}  // namespace

std::string_view name(Difference difference) {
  switch (difference) {
    case Difference::none: return "equal";
    case Difference::within: return "within";
    case Difference::values: return "values";
    case Difference::kind: return "kind";
    case Difference::shape: return "shape";
    case Difference::only_a: return "only in A";
    case Difference::only_b: return "only in B";
  }
  return "?";
}

double DatasetDiff::relative() const { return max_a > 0.0 ? max_difference / max_a : max_difference; }

std::size_t GoldenDiff::count(Difference difference) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(datasets, [&](const DatasetDiff& diff) { return diff.difference == difference; }));
}

bool GoldenDiff::equal() const { return count(Difference::none) + count(Difference::within) == datasets.size(); }

GoldenDiff diff_goldens(GoldenFile& a, GoldenFile& b, std::optional<double> rtol) {
  GoldenDiff result;
  compare_attributes("/", a.info().attributes, b.info().attributes, result.attributes);
  compare_all_attributes(a.info().groups, b.info().groups, result.attributes);
  compare_all_attributes(a.info().datasets, b.info().datasets, result.attributes);

  const auto in_a = by_path(a.info().datasets);
  const auto in_b = by_path(b.info().datasets);
  std::map<std::pair<std::uint64_t, std::uint64_t>, DatasetDiff> known;  // values under several names are read once
  for (const auto& [path, dataset] : in_a) {
    DatasetDiff diff;
    const auto other = in_b.find(path);
    if (other == in_b.end()) {
      diff.difference = Difference::only_a;
      diff.shape_a = dataset->shape;
    } else {
      const std::pair objects{dataset->object, other->second->object};
      const auto seen = known.find(objects);
      const bool readable = dataset->kind != ValueKind::other && other->second->kind != ValueKind::other;
      diff = readable && seen != known.end() ? seen->second : compare(a, *dataset, b, *other->second, rtol);
      known[objects] = diff;
    }
    diff.path = path;
    result.datasets.push_back(std::move(diff));
  }
  for (const auto& [path, dataset] : in_b) {
    if (in_a.contains(path)) continue;
    DatasetDiff diff;
    diff.path = path;
    diff.difference = Difference::only_b;
    diff.shape_b = dataset->shape;
    result.datasets.push_back(std::move(diff));
  }
  std::ranges::stable_sort(result.datasets, std::greater<>(),
                           [](const DatasetDiff& diff) { return std::tuple(diff.difference, diff.relative()); });
  return result;
}

}  // namespace mlbench::golden
