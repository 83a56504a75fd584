#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "cli/command.h"
#include "core/error.h"
#include "core/near_names.h"
#include "models/checkpoint.h"
#include "models/config_reader.h"
#include "models/presets.h"
#include "models/synthetic.h"

namespace mlbench::cli {

namespace {

Architecture known_architecture(const std::string& text) {
  if (const auto architecture = parse_architecture(text)) return *architecture;
  std::vector<std::string> names;
  for (const Architecture known : kArchitectures) names.emplace_back(name(known));
  throw request_error("usage", fmt::format("no architecture is called {}{}", in_quotes(text),
                                           near_names_hint(text, names, "mlbench list archs")));
}

// Without it a number below 0 or above 2^64 is taken for another one.
std::string check_seed(const std::string& text) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end ? "" : "must be a whole number from 0 to 2^64 - 1";
}

}  // namespace

std::string shell_word(const std::string& text) {
  const bool plain = !text.empty() && text.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789-_./=,:") == std::string::npos;
  if (plain) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

void ModelOptions::add_to(CLI::App& command, bool several) {
  command.add_option("--arch", arch_,
                     several
                         ? "Architectures, separated by commas: llama, orion, olmo, phi, gpt_bigcode; without "
                           "--preset their small presets"
                         : "Architecture: llama, orion, olmo, phi or gpt_bigcode; without --preset its small preset");
  auto* preset = command.add_option("--preset", preset_, "Preset: a published configuration (mlbench list presets)");
  auto* folder = command.add_option("--model", folder_, "Checkpoint folder with config.json and safetensors");
  folder->excludes(preset);
  command.add_option("--set", settings_, "Replace a field of the configuration, for example context_window_size=4096")
      ->type_name("FIELD=VALUE")
      ->allow_extra_args(false);
  command.add_option("--seed", seed_, "Seed of synthetic weights")
      ->check(CLI::Validator(check_seed, ""))
      ->capture_default_str();
}

bool ModelOptions::given() const { return !arch_.empty() || !preset_.empty() || !folder_.empty(); }

std::vector<ModelOptions> ModelOptions::each() const {
  std::vector<ModelOptions> choices;
  for (std::size_t begin = 0; begin <= arch_.size();) {
    const std::size_t end = std::min(arch_.find(',', begin), arch_.size());
    choices.push_back(*this);
    choices.back().arch_ = arch_.substr(begin, end - begin);
    begin = end + 1;
  }
  if (choices.size() > 1 && !(preset_.empty() && folder_.empty()))
    throw request_error("usage", fmt::format("--arch {}: a preset or a checkpoint is of one architecture", arch_));
  return choices;
}

ModelOptions ModelOptions::of(const std::string& arch, const std::string& preset, const std::string& folder) const {
  ModelOptions out = *this;
  out.arch_ = arch;
  out.preset_ = preset;
  out.folder_ = folder;
  return out;
}

std::string ModelOptions::description() const { return folder_.empty() ? preset() : folder_; }

std::string ModelOptions::command_line() const {
  std::string out = folder_.empty() ? fmt::format("--arch {} --preset {}", name(config().architecture), preset())
                                    : "--model " + shell_word(folder_);
  for (const std::string& setting : settings_) out += " --set " + shell_word(setting);
  if (folder_.empty() && seed_ != 1) out += fmt::format(" --seed {}", seed_);
  return out;
}

nlohmann::json ModelOptions::overrides() const {
  nlohmann::json fields = nlohmann::json::object();
  for (const std::string& setting : settings_) {
    const auto equals = setting.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw request_error("usage", fmt::format("--set {}: expected FIELD=VALUE", in_quotes(setting)));
    }
    const std::string value = setting.substr(equals + 1);
    // A value is JSON; a bare word is the string it looks like.
    const bool is_json = nlohmann::json::accept(value);
    fields[setting.substr(0, equals)] =
        is_json ? parse_config_json(value, "--set " + in_quotes(setting)) : nlohmann::json(value);
  }
  return fields;
}

std::string ModelOptions::preset() const {
  if (!preset_.empty()) return preset_;
  return small_preset(known_architecture(arch_));
}

ModelConfig ModelOptions::config() const {
  ModelConfig config = folder_.empty() ? preset_config(preset(), overrides())
                                       : read_checkpoint_config(folder_, {.overrides = overrides()});
  if (!arch_.empty() && known_architecture(arch_) != config.architecture) {
    throw request_error("usage", fmt::format("--arch {}: the model named is {}", arch_, name(config.architecture)));
  }
  return config;
}

Model ModelOptions::load(DType dtype, bool strict, Workers& workers) const {
  const ModelConfig checked = config();
  if (!folder_.empty()) return load_checkpoint(folder_, {.strict = strict, .overrides = overrides()});
  Model model = make_synthetic(checked, dtype, seed_, workers);
  model.origin = fmt::format("preset {}, {}", preset(), model.origin);
  return model;
}

}  // namespace mlbench::cli
