// Typed access to the fields of a config.json. `null` counts as absent everywhere. Every error names the code, the
// file, the field, the value and the rule it breaks.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/tensor.h"

namespace mlbench {

class ConfigFields {
 public:
  // `object` must be a JSON object and outlive this. `where` names it in messages ("dir/config.json").
  ConfigFields(const nlohmann::json& object, std::string where, std::string prefix = "");

  [[nodiscard]] bool has(const char* field) const { return find(field) != nullptr; }
  // Given as null, where that means something else than leaving it out.
  [[nodiscard]] bool given_as_null(const char* field) const;
  [[nodiscard]] std::optional<Index> integer(const char* field) const;  // at most 2^31 - 1 in size
  [[nodiscard]] std::optional<double> number(const char* field) const;  // finite
  [[nodiscard]] std::optional<bool> boolean(const char* field) const;
  [[nodiscard]] std::optional<std::string> text(const char* field) const;
  [[nodiscard]] std::optional<std::vector<double>> numbers(const char* field) const;
  // The object under `field`, its fields named "field.x" in messages; nothing where absent or empty.
  [[nodiscard]] std::optional<ConfigFields> object(const char* field) const;

  // Errors about a field: its value (as it stands in the file, or "absent") and the rule.
  [[nodiscard]] Error missing(const char* field, std::string_view rule) const;
  [[nodiscard]] Error bad_value(const char* field, std::string_view rule) const;
  [[nodiscard]] Error unsupported(const char* field, std::string_view rule) const;
  [[nodiscard]] Error error(const char* code, const char* field, std::string_view rule) const;

  [[nodiscard]] const std::string& where() const { return where_; }

 private:
  [[nodiscard]] const nlohmann::json* find(const char* field) const;

  const nlohmann::json* object_;
  std::string where_;
  std::string prefix_;
};

}  // namespace mlbench
