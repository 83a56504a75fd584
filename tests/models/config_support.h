// Configurations as tests write them: a small complete one per architecture, changed field by field.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "models/config.h"
#include "tests/support/expect_error.h"

namespace mlbench::test {

// The smallest config.json of each architecture that is read without a warning; phi in Hugging Face's names.
[[nodiscard]] nlohmann::json minimal(Architecture architecture);
// The same for the field set of phi-msft.
[[nodiscard]] nlohmann::json minimal_msft();
// Of all six, with a name for messages.
struct NamedConfig {
  std::string name;
  nlohmann::json config;
};
[[nodiscard]] std::vector<NamedConfig> minimal_configs();

// `config` with the fields of `changes` added or replaced; a field given as "-" is taken away.
[[nodiscard]] nlohmann::json changed(nlohmann::json config, const nlohmann::json& changes);

// Parsed from text, as a file would be.
[[nodiscard]] ModelConfig read(const nlohmann::json& config);
// The error that reading throws; the test fails unless it is a request error that names the file.
[[nodiscard]] Error refused(const nlohmann::json& config);
[[nodiscard]] Error refused_text(const std::string& text);

// One line of a table of refusals: the change, the code, and what the message must say.
struct Refusal {
  nlohmann::json changes;
  std::string code;
  std::string named;  // the field, as "field = value" where it was given
};
void expect_refused(const nlohmann::json& config, const Refusal& refusal);

}  // namespace mlbench::test
