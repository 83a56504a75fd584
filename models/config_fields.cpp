#include "models/config_fields.h"

#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "core/json.h"

namespace mlbench {

ConfigFields::ConfigFields(const nlohmann::json& object, std::string where, std::string prefix)
    : object_(&object), where_(std::move(where)), prefix_(std::move(prefix)) {}

const nlohmann::json* ConfigFields::find(const char* field) const {
  const auto it = object_->find(field);
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

bool ConfigFields::given_as_null(const char* field) const {
  const auto it = object_->find(field);
  return it != object_->end() && it->is_null();
}

std::optional<Index> ConfigFields::integer(const char* field) const {
  constexpr Index kLargest = std::numeric_limits<std::int32_t>::max();
  const nlohmann::json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number_integer()) throw error("config.type", field, "must be an integer");
  // nlohmann keeps integers beyond 2^63 as unsigned ones.
  const bool in_range = value->is_number_unsigned()
                            ? value->get<std::uint64_t>() <= static_cast<std::uint64_t>(kLargest)
                            : value->get<Index>() >= -kLargest;
  if (!in_range) throw bad_value(field, fmt::format("must lie within -{0}..{0}", kLargest));
  return value->get<Index>();
}

std::optional<double> ConfigFields::number(const char* field) const {
  const nlohmann::json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number() || !std::isfinite(value->get<double>())) {
    throw error("config.type", field, "must be a finite number");
  }
  return value->get<double>();
}

std::optional<bool> ConfigFields::boolean(const char* field) const {
  const nlohmann::json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) throw error("config.type", field, "must be true or false");
  return value->get<bool>();
}

std::optional<std::string> ConfigFields::text(const char* field) const {
  const nlohmann::json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) throw error("config.type", field, "must be a string");
  return value->get<std::string>();
}

std::optional<std::vector<double>> ConfigFields::numbers(const char* field) const {
  const nlohmann::json* value = find(field);
  if (value == nullptr) return std::nullopt;
  const auto fail = [&] { return error("config.type", field, "must be a list of finite numbers"); };
  if (!value->is_array()) throw fail();
  std::vector<double> out;
  for (const nlohmann::json& item : *value) {
    if (!item.is_number() || !std::isfinite(item.get<double>())) throw fail();
    out.push_back(item.get<double>());
  }
  return out;
}

std::optional<ConfigFields> ConfigFields::object(const char* field) const {
  const nlohmann::json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) throw error("config.type", field, "must be an object");
  if (value->empty()) return std::nullopt;
  return ConfigFields(*value, where_, prefix_ + field + ".");
}

Error ConfigFields::missing(const char* field, std::string_view rule) const {
  return request_error("config.missing", fmt::format("{}: field {}{} is absent: {}", where_, prefix_, field, rule));
}

Error ConfigFields::bad_value(const char* field, std::string_view rule) const {
  return error("config.value", field, rule);
}

Error ConfigFields::unsupported(const char* field, std::string_view rule) const {
  return error("config.unsupported", field, rule);
}

Error ConfigFields::error(const char* code, const char* field, std::string_view rule) const {
  const nlohmann::json* value = find(field);
  return request_error(code, fmt::format("{}: {}{} = {}: {}", where_, prefix_, field,
                                         value == nullptr ? "absent" : shown(*value), rule));
}

}  // namespace mlbench
