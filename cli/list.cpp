#include <iterator>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/backends.h"
#include "cli/command.h"
#include "core/error.h"
#include "golden/hf_layout.h"
#include "models/config_json.h"
#include "models/method_specs.h"
#include "models/presets.h"
#include "models/taps.h"
#include "models/tensor_inventory.h"
#include "reports/table.h"

namespace mlbench::cli {
namespace {

using nlohmann::ordered_json;
using reports::Align;
using reports::Table;

struct Options {
  ModelOptions model;
  std::string backend;  // empty: all
  PluginOptions plugin;
  std::string dtype;
  bool json = false;
};

std::string dump(const ordered_json& value) { return value.dump(1) + "\n"; }

std::string grouped(Index value) {
  std::string digits = fmt::format("{}", value);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), ",");
  return digits;
}

// The models that a listing without a choice of model shows: one of each architecture.
std::vector<ModelConfig> configs_to_list(const ModelOptions& options) {
  if (options.given()) return {options.config()};
  std::vector<ModelConfig> configs;
  for (const Architecture architecture : kArchitectures) configs.push_back(preset_config(small_preset(architecture)));
  return configs;
}

// ---- archs ----

struct ArchitectureFacts {
  const char* norm;
  const char* positions;
  const char* mlp;
  const char* model_types;
};

ArchitectureFacts facts(Architecture architecture) {
  switch (architecture) {
    case Architecture::llama: return {"RMSNorm", "RoPE", "gated", "llama"};
    case Architecture::orion: return {"LayerNorm", "RoPE", "gated", "orion"};
    case Architecture::olmo: return {"LayerNorm without tensors", "RoPE", "gated", "olmo"};
    case Architecture::phi:
      return {"LayerNorm", "RoPE on a part of each head", "fc1, fc2, beside attention",
              "phi, phi-msft, mixformer-sequential"};
    case Architecture::gpt_bigcode: return {"LayerNorm", "learned", "c_fc, c_proj", "gpt_bigcode"};
  }
  return {};
}

int list_archs(const Options& options) {
  ordered_json json = ordered_json::array();
  Table table({{"architecture", Align::left},
               {"Hugging Face class", Align::left},
               {"model_type", Align::left},
               {"norm", Align::left},
               {"positions", Align::left},
               {"MLP", Align::left},
               {"small preset", Align::left}});
  for (const Architecture architecture : kArchitectures) {
    const ArchitectureFacts f = facts(architecture);
    const std::string arch(name(architecture));
    table.add({arch, std::string(hf_class_name(architecture)), f.model_types, f.norm, f.positions, f.mlp,
               small_preset(architecture)});
    json.push_back({{"name", arch},
                    {"hf_class", hf_class_name(architecture)},
                    {"model_types", f.model_types},
                    {"norm", f.norm},
                    {"positions", f.positions},
                    {"mlp", f.mlp},
                    {"small_preset", small_preset(architecture)}});
  }
  print(options.json ? dump(json) : table.text());
  return 0;
}

// ---- presets ----

int list_presets(const Options& options) {
  ordered_json json = ordered_json::array();
  Table table({{"preset", Align::left},
               {"arch", Align::left},
               {"h", Align::right},
               {"I", Align::right},
               {"L", Align::right},
               {"Hq", Align::right},
               {"Hkv", Align::right},
               {"d", Align::right},
               {"V", Align::right},
               {"context", Align::right},
               {"activation", Align::left},
               {"rope", Align::left},
               {"tie", Align::left},
               {"parameters", Align::right},
               {"KV/token", Align::right}});
  const auto number = [](Index value) { return fmt::format("{}", value); };
  for (const std::string& preset : preset_names()) {
    const ModelConfig c = preset_config(preset);
    const Index parameters = parameter_count(c);
    std::string rope(name(c.rope.kind));
    if (c.rope.kind != RopeKind::none) rope += fmt::format(" {:g}", c.rope.theta);
    if (c.clip_qkv) rope += fmt::format(", clip {:g}", *c.clip_qkv);
    table.add({preset, std::string(name(c.architecture)), number(c.hidden_size), number(c.intermediate_size),
               number(c.num_layers), number(c.num_heads), number(c.num_kv_heads), number(c.head_dim),
               number(c.vocab_size), number(c.context_window_size), std::string(name(c.activation)), rope,
               c.tie_word_embeddings ? "yes" : "no", grouped(parameters), number(kv_values_per_token(c))});
    json.push_back({{"name", preset},
                    {"architecture", name(c.architecture)},
                    {"parameters", parameters},
                    {"kv_values_per_token", kv_values_per_token(c)},
                    {"config", config_json(c)},
                    {"config.json", preset_config_json(preset)}});
  }
  print(options.json ? dump(json) : table.text());
  return 0;
}

// ---- methods ----

DType listed_dtype(const Options& options, const ModelConfig& config) {
  const std::string text = options.dtype.empty() ? config.dtype : options.dtype;
  if (const auto dtype = parse_dtype(text)) return *dtype;
  throw request_error("usage", fmt::format("--dtype {}: must be f64, f32, bf16 or f16", in_quotes(text)));
}

std::string show(const ValueSpec& value) {
  if (value.kind == ValueSpec::Kind::kv_cache) return "kv_cache";
  if (value.kind == ValueSpec::Kind::integer) return "int " + value.name;
  std::vector<std::string> dims;
  for (const SymbolicDim& dim : value.shape) {
    std::visit([&](const auto& size) { dims.push_back(fmt::format("{}", size)); }, dim);
  }
  return fmt::format("{} {}[{}]", value.dtype, value.name, fmt::join(dims, ", "));
}

std::string show(const std::vector<ValueSpec>& values) {
  std::vector<std::string> parts;
  for (const ValueSpec& value : values) parts.push_back(show(value));
  return fmt::format("{}", fmt::join(parts, ", "));
}

int list_methods(const Options& options) {
  ordered_json json = ordered_json::array();
  std::string text;
  for (const ModelConfig& config : configs_to_list(options.model)) {
    const DType dtype = listed_dtype(options, config);
    json.push_back(method_listing(config, dtype));
    Table table({{"method", Align::left}, {"MLC", Align::left}, {"arguments", Align::left}, {"results", Align::left}});
    for (const MethodSpec& method : method_specs(config, dtype)) {
      const char* mlc = method.mlc_exported ? "exported" : method.internal ? "internal" : "-";
      table.add({method.name, mlc, show(method.args), show(method.results)});
    }
    fmt::format_to(std::back_inserter(text), "{}{} (seq_len <= {}, batch_size <= {}, total length <= {})\n{}",
                   text.empty() ? "" : "\n", name(config.architecture), config.prefill_chunk_size,
                   config.max_batch_size, config.context_window_size, table.text());
  }
  if (options.json) text = dump(options.model.given() ? json[0] : json);
  print(text);
  return 0;
}

// ---- taps ----

int list_taps(const Options& options) {
  ordered_json json = ordered_json::array();
  std::string text;
  for (const ModelConfig& config : configs_to_list(options.model)) {
    ordered_json taps = ordered_json::array();
    Table table({{"tap", Align::left},
                 {"shape", Align::left},
                 {"meaning", Align::left},
                 {"Hugging Face modules", Align::left}});
    for (const TapSpec& spec : tap_specs(config)) {
      const std::string tap = fmt::format("{}{}", per_layer(spec.tap) ? "layers.N." : "", name(spec.tap));
      const std::vector<std::string> modules = golden::modules_of_tap(spec.tap);
      table.add({tap, spec.shape, spec.meaning, fmt::format("{}", fmt::join(modules, ", "))});
      taps.push_back({{"tap", tap},
                      {"per_layer", per_layer(spec.tap)},
                      {"shape", spec.shape},
                      {"meaning", spec.meaning},
                      {"hf_modules", modules}});
    }
    json.push_back(
        {{"architecture", name(config.architecture)}, {"num_layers", config.num_layers}, {"taps", std::move(taps)}});
    fmt::format_to(std::back_inserter(text), "{}{} (N = 0..{})\n{}", text.empty() ? "" : "\n",
                   name(config.architecture), config.num_layers - 1, table.text());
  }
  if (options.json) text = dump(options.model.given() ? json[0] : json);
  print(text);
  return 0;
}

// ---- backends, devices ----

std::string memory_text(std::uint64_t bytes) {
  return bytes == 0 ? "" : fmt::format("{:.1f} GiB", static_cast<double>(bytes) / 0x1p30);
}

std::vector<BackendChoice> chosen_backends(const Options& options) {
  if (options.backend.empty()) return known_backends();
  return {backend_choice(options.backend, options.plugin)};
}

int list_backends(const Options& options) {
  ordered_json json = ordered_json::array();
  Table table({{"backend", Align::left},
               {"what it is", Align::left},
               {"computes with", Align::left},
               {"devices", Align::left},
               {"missing", Align::left}});
  for (const BackendChoice& backend : chosen_backends(options)) {
    std::vector<std::string> ids;
    for (const backends::DeviceInfo& device : backend.devices) ids.push_back(device.id);
    table.add(
        {backend.name, backend.summary, backend.version, fmt::format("{}", fmt::join(ids, ", ")), backend.missing});
    json.push_back({{"name", backend.name},
                    {"summary", backend.summary},
                    {"available", backend.missing.empty()},
                    {"missing", backend.missing.empty() ? ordered_json(nullptr) : ordered_json(backend.missing)},
                    {"version", backend.version},
                    {"devices", ids}});
  }
  print(options.json ? dump(json) : table.text());
  return 0;
}

int list_devices(const Options& options) {
  ordered_json json = ordered_json::array();
  Table table(
      {{"backend", Align::left}, {"device", Align::left}, {"description", Align::left}, {"memory", Align::right}});
  for (const BackendChoice& backend : chosen_backends(options)) {
    for (const backends::DeviceInfo& device : backend.devices) {
      table.add({backend.name, device.id, device.description, memory_text(device.memory_bytes)});
      json.push_back({{"backend", backend.name},
                      {"device", device.id},
                      {"description", device.description},
                      {"memory_bytes", device.memory_bytes}});
    }
  }
  print(options.json ? dump(json) : table.text());
  return 0;
}

using Lister = int (*)(const Options&);

enum Takes { kNothing = 0, kModel = 1, kDtype = 2, kBackend = 4 };

void add_subject(CLI::App& list, Action& action, const char* name, const char* help, const char* example, Lister lister,
                 int takes) {
  auto options = std::make_shared<Options>();
  CLI::App* command = list.add_subcommand(name, help);
  command->add_flag("--json", options->json, "As JSON, for programs");
  if ((takes & kModel) != 0) options->model.add_to(*command);
  if ((takes & kDtype) != 0)
    command->add_option("--dtype", options->dtype,
                        "Type of the model: f64, f32, bf16 or f16; without it the checkpoint's");
  if ((takes & kBackend) != 0) {
    command->add_option("--backend", options->backend, "This one alone: a name, or the path of a library");
    options->plugin.add_to(*command);
  }
  command->footer(fmt::format("Example: mlbench list {}", example));
  command->callback([options, &action, lister] { action = [options, lister] { return lister(*options); }; });
}

}  // namespace

void add_list_command(CLI::App& app, Action& action) {
  CLI::App* list = app.add_subcommand("list", "What there is: archs, presets, methods, taps, backends, devices");
  list->require_subcommand(1);
  add_subject(*list, action, "archs", "The architectures", "archs", list_archs, kNothing);
  add_subject(*list, action, "presets",
              "Published configurations with their parameter counts, and a small one of each architecture",
              "presets --json", list_presets, kNothing);
  add_subject(*list, action, "methods",
              "The inference methods with arguments, shapes and types, of one model or of the small presets",
              "methods --arch llama --preset llama-3-8b --dtype f16 --json", list_methods, kModel | kDtype);
  add_subject(*list, action, "taps", "The intermediate values at which implementations are compared", "taps --arch phi",
              list_taps, kModel);
  add_subject(*list, action, "backends", "The backends that this build knows, and what those that are not there lack",
              "backends", list_backends, kBackend);
  add_subject(*list, action, "devices", "The devices that backends see", "devices --json", list_devices, kBackend);
  list->footer("Example: mlbench list presets");
}

}  // namespace mlbench::cli
