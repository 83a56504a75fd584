#include "models/method_specs.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/hash.h"
#include "models/config_json.h"

namespace mlbench {
namespace {

using Kind = ValueSpec::Kind;
using nlohmann::ordered_json;

// One row of the specification's table: which methods MLC-LLM has for all five, and which for Llama and OLMo only.
enum class Mlc { all, llama_and_olmo, internal_all, internal_llama_and_olmo };

class Specs {
 public:
  Specs(const ModelConfig& config, DType dtype)
      : config_(config),
        type_(long_name(dtype)),
        widely_exported_(config.architecture == Architecture::llama || config.architecture == Architecture::olmo) {}

  std::vector<MethodSpec> build() {
    const SymbolicDim one = Index{1}, h = config_.hidden_size, V = config_.vocab_size;
    const SymbolicDim n = std::string("seq_len"), b = std::string("batch_size");
    const ValueSpec positions = ints("logit_positions", {b});

    add("embed", Mlc::all, {ints("input_ids", {n})}, {floats("embeds", {n, h})});
    add("get_logits", Mlc::llama_and_olmo, {floats("hidden_states", {n, h})}, {logits({n, V})});
    add("batch_select_last_hidden_states", Mlc::llama_and_olmo, {floats("hidden_states", {n, h}), positions},
        {floats("hidden_states", {b, h})})
        .uses_weights = false;
    forward("prefill", "prefill_to_last_hidden_states", floats("input_embed", {one, n, h}), {}, {one, one, V});
    forward("decode", "decode_to_last_hidden_states", floats("input_embed", {one, one, h}), {}, {one, one, V});
    forward("batch_prefill", "batch_prefill_to_last_hidden_states", floats("input_embeds", {one, n, h}), {positions},
            {one, b, V});
    forward("batch_decode", "batch_decode_to_last_hidden_states", floats("input_embeds", {b, one, h}), {}, {b, one, V});
    forward("batch_verify", "batch_verify_to_last_hidden_states", floats("input_embeds", {one, n, h}), {}, {one, n, V});
    add("batch_forward", Mlc::internal_all, {floats("input_embeds", {one, n, h}), cache(), positions},
        {logits({one, b, V}), cache()});
    add("batch_forward_to_last_hidden_states", Mlc::internal_llama_and_olmo,
        {floats("input_embeds", {one, n, h}), cache()}, {floats("hidden_states", {one, n, h}), cache()});
    std::vector<ValueSpec> sizes;
    for (const char* name :
         {"max_batch_size", "max_total_seq_len", "prefill_chunk_size", "page_size", "support_sliding_window"}) {
      sizes.push_back({name, Kind::integer, "", {}});
    }
    add("create_paged_kv_cache", Mlc::all, std::move(sizes), {cache()}).uses_weights = false;
    return std::move(specs_);
  }

 private:
  [[nodiscard]] ValueSpec floats(const char* name, std::vector<SymbolicDim> shape) const {
    return {name, Kind::tensor, type_, std::move(shape)};
  }
  static ValueSpec ints(const char* name, std::vector<SymbolicDim> shape) {
    return {name, Kind::tensor, "int32", std::move(shape)};
  }
  // Whatever the model's type, the interface's logits are float32.
  static ValueSpec logits(std::vector<SymbolicDim> shape) {
    return {"logits", Kind::tensor, "float32", std::move(shape)};
  }
  static ValueSpec cache() { return {"paged_kv_cache", Kind::kv_cache, "", {}}; }

  MethodSpec& add(const char* name, Mlc mlc, std::vector<ValueSpec> args, std::vector<ValueSpec> results) {
    MethodSpec spec;
    spec.name = name;
    spec.mlc_exported = mlc == Mlc::all || (mlc == Mlc::llama_and_olmo && widely_exported_);
    spec.internal = mlc == Mlc::internal_all || (mlc == Mlc::internal_llama_and_olmo && widely_exported_);
    spec.args = std::move(args);
    spec.results = std::move(results);
    specs_.push_back(std::move(spec));
    return specs_.back();
  }

  // A method that runs the whole stack, and its variant that stops before the output layer.
  void forward(const char* name, const char* hidden_name, const ValueSpec& x, const std::vector<ValueSpec>& more,
               std::vector<SymbolicDim> logits_shape) {
    std::vector<ValueSpec> args{x};
    args.insert(args.end(), more.begin(), more.end());
    args.push_back(cache());
    add(name, Mlc::all, args, {logits(std::move(logits_shape)), cache()}).pipeline_partitioned = true;
    add(hidden_name, Mlc::llama_and_olmo, {x, cache()}, {floats("hidden_states", x.shape), cache()})
        .pipeline_partitioned = true;
  }

  const ModelConfig& config_;
  std::string type_;
  bool widely_exported_;
  std::vector<MethodSpec> specs_;
};

ordered_json to_json(const ValueSpec& value) {
  ordered_json out = {{"name", value.name}};
  switch (value.kind) {
    case Kind::kv_cache: out["kind"] = "kv_cache"; return out;
    case Kind::integer: out["kind"] = "int"; return out;
    case Kind::tensor: break;
  }
  out["kind"] = "tensor";
  out["dtype"] = value.dtype;
  ordered_json shape = ordered_json::array();
  for (const SymbolicDim& dim : value.shape) {
    std::visit([&](const auto& size) { shape.push_back(size); }, dim);
  }
  out["shape"] = std::move(shape);
  return out;
}

ordered_json to_json(const std::vector<ValueSpec>& values) {
  ordered_json out = ordered_json::array();
  for (const ValueSpec& value : values) out.push_back(to_json(value));
  return out;
}

// Where each pipeline stage's layers begin, and L: stage i runs [s_i, s_(i+1)).
std::vector<Index> layer_partition(const ModelConfig& c) {
  const Index per_stage = (c.num_layers + c.pipeline_parallel_stages - 1) / c.pipeline_parallel_stages;
  std::vector<Index> starts;
  for (Index stage = 0; stage < c.pipeline_parallel_stages; ++stage) starts.push_back(stage * per_stage);
  starts.push_back(c.num_layers);
  return starts;
}

ordered_json kv_cache_json(const ModelConfig& c) {
  const bool rope = c.rope.kind != RopeKind::none;
  return {{"num_hidden_layers", c.num_layers},
          {"num_attention_heads", c.num_heads / c.tensor_parallel_shards},
          {"num_key_value_heads", c.num_kv_heads / c.tensor_parallel_shards},
          {"head_dim", c.head_dim},
          {"rope_mode", rope ? "normal" : "none"},
          {"rope_scale", rope ? 1 : -1},
          {"rope_theta", rope ? c.rope.theta : -1.0},
          {"rotary_dim", c.rope.rotary_dim},
          {"layer_partition", layer_partition(c)},
          {"kv_transfer", c.disaggregation}};
}

}  // namespace

std::vector<MethodSpec> method_specs(const ModelConfig& config, DType dtype) { return Specs(config, dtype).build(); }

ordered_json method_listing(const ModelConfig& config, DType dtype) {
  ordered_json methods = ordered_json::array();
  for (const MethodSpec& method : method_specs(config, dtype)) {
    methods.push_back({{"name", method.name},
                       {"mlc_exported", method.mlc_exported},
                       {"internal", method.internal},
                       {"pipeline_partitioned", method.pipeline_partitioned},
                       {"param_mode", method.uses_weights ? "packed" : "none"},
                       {"effect_mode", "none"},
                       {"args", to_json(method.args)},
                       {"results", to_json(method.results)}});
  }
  const bool mlc_pipeline = config.architecture == Architecture::llama || config.architecture == Architecture::olmo;
  return {{"architecture", name(config.architecture)},
          {"config_hash", fmt::format("{:016x}", fnv1a(config_json(config).dump()))},
          {"dtype", long_name(dtype)},
          {"methods", std::move(methods)},
          {"kv_cache", kv_cache_json(config)},
          {"bounds",
           {{"seq_len", config.prefill_chunk_size},
            {"batch_size", config.max_batch_size},
            {"total_seq_len", config.context_window_size}}},
          {"mlc", {{"pipeline_parallel", mlc_pipeline}, {"kv_transfer", config.architecture == Architecture::llama}}}};
}

}  // namespace mlbench
