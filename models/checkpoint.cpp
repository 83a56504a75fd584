#include "models/checkpoint.h"

#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/file_map.h"
#include "core/json.h"
#include "models/config_reader.h"
#include "models/safetensors.h"
#include "models/stored_names.h"
#include "models/tensor_inventory.h"

namespace mlbench {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxConfigBytes = 16U << 20U;
constexpr std::size_t kMaxIndexBytes = 256U << 20U;

std::optional<DType> weight_dtype(std::string_view stored) {
  if (stored == "F64") return DType::f64;
  if (stored == "F32") return DType::f32;
  if (stored == "BF16") return DType::bf16;
  if (stored == "F16") return DType::f16;
  return std::nullopt;
}

// A name that cannot be looked up (a loop of links, a folder that may not be read) counts as there: opening it says
// why.
bool is_there(const fs::path& path) {
  std::error_code failed;
  const bool found = fs::exists(path, failed);
  return found || failed;
}

// All tensors of a checkpoint's files, by name.
class StoredTensors {
 public:
  StoredTensors(const fs::path& folder, Weights& weights) : weights_(weights) {
    const fs::path single = folder / "model.safetensors";
    const fs::path index = folder / "model.safetensors.index.json";
    if (is_there(single)) {
      add_file(single.string());
    } else if (is_there(index)) {
      add_shards(folder, index.string());
    } else {
      throw missing_files(folder);
    }
  }

  struct Tensor {
    const SafetensorsEntry* entry;
    const SafetensorsFile* file;
  };

  [[nodiscard]] const Tensor* find(const std::string& name) const {
    const auto it = tensors_.find(name);
    return it == tensors_.end() ? nullptr : &it->second;
  }
  [[nodiscard]] const std::map<std::string, Tensor>& all() const { return tensors_; }
  // What the index says of a tensor that no file holds: " (the index places it in FILE)", or nothing.
  [[nodiscard]] std::string index_hint(const std::string& name) const {
    const auto it = promised_.find(name);
    return it == promised_.end()
               ? ""
               : fmt::format(" (the index places it in {}, which does not hold it)", in_quotes(it->second));
  }

 private:
  static Error missing_files(const fs::path& folder) {
    for (const char* other : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
      if (is_there(folder / other)) {
        return request_error(
            "checkpoint.unsupported",
            fmt::format("{}: holds {}; only safetensors are read: convert it first", folder.string(), other));
      }
    }
    return request_error(
        "checkpoint.missing",
        fmt::format("{}: holds neither model.safetensors nor model.safetensors.index.json", folder.string()));
  }

  void add_file(const std::string& path) {
    const auto file = std::make_shared<const SafetensorsFile>(path);
    for (const SafetensorsEntry& entry : file->entries) {
      const auto [it, fresh] = tensors_.try_emplace(entry.name, Tensor{&entry, file.get()});
      if (!fresh) {
        throw request_error("checkpoint.format", fmt::format("{}: tensor {} stands in {} too", path,
                                                             in_quotes(entry.name), it->second.file->path));
      }
    }
    weights_.keep(file);
  }

  void add_shards(const fs::path& folder, const std::string& index_path) {
    const nlohmann::json index =
        parse_json(read_text_file(index_path, kMaxIndexBytes), index_path, "checkpoint.format", "checkpoint.format");
    const auto map = index.is_object() ? index.find("weight_map") : index.end();
    if (!index.is_object() || map == index.end() || !map->is_object()) {
      throw request_error("checkpoint.format", fmt::format("{}: weight_map must be an object", index_path));
    }
    std::set<std::string> shards;
    for (const auto& [name, shard] : map->items()) {
      const std::string file = shard.is_string() ? shard.get<std::string>() : "";
      // A file beside the index and nothing else: no way out of the folder.
      const bool plain = !file.empty() && file.find('/') == std::string::npos && file.find('\0') == std::string::npos &&
                         file != "." && file != "..";
      if (!plain) {
        throw request_error("checkpoint.format",
                            fmt::format("{}: tensor {}: {} must be the name of a file in the same folder", index_path,
                                        in_quotes(name), shown(shard)));
      }
      shards.insert(file);
      promised_[name] = file;
    }
    if (shards.empty()) throw request_error("checkpoint.format", fmt::format("{}: weight_map is empty", index_path));
    for (const std::string& shard : shards) add_file((folder / shard).string());
  }

  Weights& weights_;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> promised_;
};

class Resolver {
 public:
  Resolver(const ModelConfig& config, std::string folder, const StoredTensors& stored)
      : config_(config), folder_(std::move(folder)), stored_(stored) {}

  std::optional<WeightView> find(const TensorSpec& spec) {
    for (const StoredRows& place : stored_places(config_, spec)) {
      const auto* tensor = stored_.find(place.name);
      if (tensor == nullptr) continue;
      used_.insert(place.name);
      return view(*tensor, place, spec);
    }
    return std::nullopt;
  }

  WeightView require(const TensorSpec& spec) {
    if (auto found = find(spec)) return *found;
    throw request_error("weights.missing", fmt::format("{}: no tensor {} of shape {}{}", folder_, in_quotes(spec.name),
                                                       to_string(spec.shape), stored_.index_hint(spec.name)));
  }

  [[nodiscard]] std::vector<std::string> unused() const {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : stored_.all()) {
      if (!used_.contains(name) && !ignorable(name)) names.push_back(name);
    }
    return names;
  }

 private:
  [[nodiscard]] WeightView view(const StoredTensors::Tensor& tensor, const StoredRows& place,
                                const TensorSpec& spec) const {
    const SafetensorsEntry& entry = *tensor.entry;
    Shape expected = spec.shape;
    expected[0] = place.total_rows;
    if (entry.shape != expected) {
      throw request_error("weights.shape",
                          fmt::format("{}: tensor {}: expected shape {}, got {}", tensor.file->path,
                                      in_quotes(entry.name), to_string(expected), to_string(entry.shape)));
    }
    const auto dtype = weight_dtype(entry.dtype);
    if (!dtype) {
      throw request_error("weights.dtype", fmt::format("{}: tensor {}: {} must be F64, F32, F16 or BF16",
                                                       tensor.file->path, in_quotes(entry.name), entry.dtype));
    }
    const bool vector = spec.shape.size() == 1;
    const Index cols = vector ? 1 : spec.shape[1];
    const WeightView all{
        .dtype = *dtype, .rows = place.total_rows, .cols = cols, .data = tensor.file->map.bytes().data() + entry.begin};
    WeightView rows = all.slice(place.first_row, spec.shape[0]);
    if (vector) std::swap(rows.rows, rows.cols);
    return rows;
  }

  const ModelConfig& config_;
  std::string folder_;
  const StoredTensors& stored_;
  std::set<std::string> used_;
};

bool bitwise_equal(const WeightView& a, const WeightView& b) {
  return a.dtype == b.dtype && a.size() == b.size() &&
         std::memcmp(a.data, b.data, static_cast<std::size_t>(a.size()) * size_bytes(a.dtype)) == 0;
}

// Embedding and output layer of a model whose configuration ties them.
void resolve_tied(Model& model, Resolver& resolver, Weights& weights) {
  const std::string embedding = embedding_name(model.config);
  const Shape shape{model.config.vocab_size, model.config.hidden_size};
  const auto in = resolver.find({embedding, shape, TensorRole::token_embedding, false});
  const auto out = resolver.find({kLmHeadName, shape, TensorRole::lm_head, false});
  if (!in && !out) (void)resolver.require({embedding, shape, TensorRole::token_embedding, false});
  weights.put(embedding, in ? *in : *out);
  const bool conflict = in && out && !bitwise_equal(*in, *out);
  weights.put(kLmHeadName, conflict ? *out : weights.get(embedding));
  if (conflict) {
    model.config.tie_word_embeddings = false;
    model.warnings.push_back(fmt::format(
        "weights.conflict: {}: tie_word_embeddings is true, but {} and {} differ: both are used as stored, untied",
        model.origin, embedding, kLmHeadName));
  }
}

void report_unused(Model& model, const std::vector<std::string>& names, bool strict) {
  if (names.empty()) return;
  std::string text = fmt::format("{}: nothing uses tensor {}", model.origin, in_quotes(names.front()));
  if (names.size() > 1) text += fmt::format(" and {} more", names.size() - 1);
  if (strict) throw request_error("weights.unexpected", text);
  model.warnings.push_back("weights.unexpected: " + text);
}

}  // namespace

ModelConfig read_checkpoint_config(const std::string& folder, const CheckpointOptions& options) {
  std::error_code failed;
  if (!fs::is_directory(folder, failed)) {
    const char* what = fs::exists(folder, failed) ? "is not a folder" : "no such folder";
    throw request_error("checkpoint.missing",
                        fmt::format("{}: {}; a checkpoint is a folder with config.json and safetensors", folder, what));
  }
  const std::string path = (fs::path(folder) / "config.json").string();
  nlohmann::json object = parse_config_json(read_text_file(path, kMaxConfigBytes), path);
  if (object.is_object()) object.update(options.overrides);
  return read_config(object, path);
}

Model load_checkpoint(const std::string& folder, const CheckpointOptions& options) {
  Model model;
  model.config = read_checkpoint_config(folder, options);
  model.origin = folder;
  model.warnings = model.config.warnings;
  auto weights = std::make_shared<Weights>();
  const StoredTensors stored(folder, *weights);
  Resolver resolver(model.config, folder, stored);
  const bool tied = model.config.tie_word_embeddings;
  for (const TensorSpec& spec : global_tensors(model.config)) {
    if (tied && spec.role == TensorRole::token_embedding) continue;  // resolve_tied
    weights->put(spec.name, resolver.require(spec));
  }
  if (tied) resolve_tied(model, resolver, *weights);
  for (Index layer = 0; layer < model.config.num_layers; ++layer) {
    for (const TensorSpec& spec : layer_tensors(model.config, layer)) weights->put(spec.name, resolver.require(spec));
  }
  report_unused(model, resolver.unused(), options.strict);
  weights->set_source({.folder = fs::absolute(folder).string(), .overrides = options.overrides.dump()});
  model.weights = std::move(weights);
  return model;
}

}  // namespace mlbench
