#include "reports/bench_fields.h"

#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/json.h"

namespace mlbench::reports {
namespace {

using nlohmann::json;

std::string joined(const std::string& path, const std::string& name) {
  return path.empty() || name.empty() ? path + name : path + "." + name;
}

std::string indexed(const std::string& name, std::size_t index) { return fmt::format("{}[{}]", name, index); }

// A time in seconds; below 0 where it is none.
double seconds_in(const json& value, double unit, bool zero) {
  const double seconds = value.is_number() ? unit * value.get<double>() : -1.0;
  return (seconds > 0.0 || (zero && seconds == 0.0)) && seconds <= kMostSeconds ? seconds : -1.0;
}

}  // namespace

Error format_error(const std::string& where, const std::string& what) {
  return request_error("bench.format", fmt::format("{}: {}", where, what));
}

Fields::Fields(const json& object, std::string where, std::string path)
    : object_(&object), where_(std::move(where)), path_(std::move(path)) {
  if (!object.is_object()) {
    throw format_error(path_.empty() ? where_ : fmt::format("{}: {}", where_, path_),
                       fmt::format("must be an object, is {}", shown(object)));
  }
}

std::string Fields::place(const std::string& name) const { return fmt::format("{}: {}", where_, joined(path_, name)); }

Error Fields::fault(const std::string& name, const std::string& must) const {
  const auto it = object_->find(name);
  const std::string value = it == object_->end() ? "" : " = " + shown(*it);
  return format_error(place(name) + value, "must be " + must);
}

bool Fields::has(const std::string& name) const {
  const auto it = object_->find(name);
  return it != object_->end() && !it->is_null();
}

bool Fields::is_text(const std::string& name) const { return has(name) && object_->at(name).is_string(); }

const json& Fields::at(const std::string& name) {
  asked_.insert(name);
  const auto it = object_->find(name);
  if (it == object_->end()) throw format_error(place(name), "is missing");
  return *it;
}

std::string Fields::text(const std::string& name) {
  const json& value = at(name);
  if (!value.is_string()) throw fault(name, "text");
  return value.get<std::string>();
}

bool Fields::flag(const std::string& name) {
  const json& value = at(name);
  if (!value.is_boolean()) throw fault(name, "true or false");
  return value.get<bool>();
}

Index Fields::count(const std::string& name, Index most) {
  const json& value = at(name);
  const auto limit = static_cast<std::uint64_t>(most);
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > limit) {
    throw fault(name, fmt::format("a whole number from 0 to {}", most));
  }
  return value.get<Index>();
}

std::uint64_t Fields::whole(const std::string& name) {
  const json& value = at(name);
  if (!value.is_number_unsigned()) throw fault(name, "a whole number that is not negative");
  return value.get<std::uint64_t>();
}

double Fields::number(const std::string& name) {
  const json& value = at(name);
  if (!value.is_number()) throw fault(name, "a number");
  return value.get<double>();
}

double Fields::figure(const std::string& name) {
  const json& value = at(name);
  if (value.is_number()) return value.get<double>();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (value == "inf") return kInfinity;
  if (value == "-inf") return -kInfinity;
  if (value == "nan") return std::nan("");
  throw fault(name, R"(a number, "inf", "-inf" or "nan")");
}

double Fields::seconds(const std::string& name) {
  const json& value = at(name);
  if (!value.is_number() || !(value.get<double>() >= 0.0 && value.get<double>() <= kMostSeconds)) {
    throw fault(name, fmt::format("seconds from 0 to {:g}", kMostSeconds));
  }
  return value.get<double>();
}

Fields Fields::object(const std::string& name) { return Fields(at(name), where_, joined(path_, name)); }

const json& Fields::list(const std::string& name) {
  const json& value = at(name);
  if (!value.is_array()) throw fault(name, "a list");
  return value;
}

std::vector<Fields> Fields::objects(const std::string& name, std::size_t most) {
  const json& values = list(name);
  if (values.size() > most) {
    throw format_error(place(name), fmt::format("has {} entries, the most are {}", values.size(), most));
  }
  std::vector<Fields> out;
  for (std::size_t i = 0; i < values.size(); ++i) {
    out.emplace_back(values[i], where_, joined(path_, indexed(name, i)));
  }
  return out;
}

std::vector<std::string> Fields::texts(const std::string& name) {
  const json& values = list(name);
  std::vector<std::string> out;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!values[i].is_string()) {
      throw format_error(fmt::format("{} = {}", place(indexed(name, i)), shown(values[i])), "must be text");
    }
    out.push_back(values[i].get<std::string>());
  }
  return out;
}

Error Fields::wrong_time(const std::string& name, const json& value, bool zero) const {
  return format_error(
      fmt::format("{} = {}", place(name), shown(value)),
      fmt::format("must be a time {} and at most {:g} s", zero ? "from 0 on" : "above 0", kMostSeconds));
}

std::vector<double> Fields::times_in(const json& list, const std::string& name, double unit, bool zero) const {
  std::vector<double> out;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const double seconds = seconds_in(list[i], unit, zero);
    if (seconds < 0.0) throw wrong_time(indexed(name, i), list[i], zero);
    out.push_back(seconds);
  }
  return out;
}

double Fields::time(const std::string& name, double unit) {
  const json& value = at(name);
  const double seconds = seconds_in(value, unit, false);
  if (seconds < 0.0) throw wrong_time(name, value, false);
  return seconds;
}

std::vector<double> Fields::times(const std::string& name, double unit) {
  return times_in(list(name), name, unit, false);
}

std::vector<double> Fields::moments(const std::string& name) { return times_in(list(name), name, 1.0, true); }

std::vector<std::vector<double>> Fields::lists_of_times(const std::string& name) {
  const json& values = list(name);
  std::vector<std::vector<double>> out;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!values[i].is_array()) {
      throw format_error(fmt::format("{} = {}", place(indexed(name, i)), shown(values[i])), "must be a list");
    }
    out.push_back(times_in(values[i], indexed(name, i), 1.0, true));
  }
  return out;
}

void Fields::expect_no_more() const {
  for (const auto& [name, value] : object_->items()) {
    if (!asked_.contains(name)) {
      throw format_error(path_.empty() ? where_ : fmt::format("{}: {}", where_, path_),
                         fmt::format("{} is no field of this format", in_quotes(name)));
    }
  }
}

}  // namespace mlbench::reports
