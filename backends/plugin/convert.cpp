#include "backends/plugin/convert.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "backends/plugin/hf_config.h"
#include "models/tensor_inventory.h"

namespace mlbench::plugin {
namespace {

// Enumerators cross as their numbers.
constexpr bool same(auto ours, int theirs) { return static_cast<int>(ours) == theirs; }
static_assert(same(DType::f64, MLBENCH_F64) && same(DType::f32, MLBENCH_F32) && same(DType::bf16, MLBENCH_BF16) &&
              same(DType::f16, MLBENCH_F16));
static_assert(same(Architecture::llama, MLBENCH_LLAMA) && same(Architecture::orion, MLBENCH_ORION) &&
              same(Architecture::olmo, MLBENCH_OLMO) && same(Architecture::phi, MLBENCH_PHI) &&
              same(Architecture::gpt_bigcode, MLBENCH_GPT_BIGCODE));
static_assert(same(Activation::silu, MLBENCH_SILU) && same(Activation::gelu_erf, MLBENCH_GELU_ERF) &&
              same(Activation::gelu_tanh, MLBENCH_GELU_TANH) && same(Activation::gelu_fast, MLBENCH_GELU_FAST) &&
              same(Activation::relu, MLBENCH_RELU));
static_assert(same(RopeKind::none, MLBENCH_ROPE_NONE) && same(RopeKind::plain, MLBENCH_ROPE_DEFAULT) &&
              same(RopeKind::linear, MLBENCH_ROPE_LINEAR) && same(RopeKind::dynamic, MLBENCH_ROPE_DYNAMIC) &&
              same(RopeKind::llama3, MLBENCH_ROPE_LLAMA3) && same(RopeKind::yarn, MLBENCH_ROPE_YARN) &&
              same(RopeKind::longrope, MLBENCH_ROPE_LONGROPE));
using backends::Method;
static_assert(same(Method::prefill, MLBENCH_PREFILL) && same(Method::decode, MLBENCH_DECODE) &&
              same(Method::batch_prefill, MLBENCH_BATCH_PREFILL) && same(Method::batch_decode, MLBENCH_BATCH_DECODE) &&
              same(Method::batch_verify, MLBENCH_BATCH_VERIFY) &&
              same(Method::prefill_to_last_hidden_states, MLBENCH_PREFILL_TO_LAST_HIDDEN_STATES) &&
              same(Method::decode_to_last_hidden_states, MLBENCH_DECODE_TO_LAST_HIDDEN_STATES) &&
              same(Method::batch_prefill_to_last_hidden_states, MLBENCH_BATCH_PREFILL_TO_LAST_HIDDEN_STATES) &&
              same(Method::batch_decode_to_last_hidden_states, MLBENCH_BATCH_DECODE_TO_LAST_HIDDEN_STATES) &&
              same(Method::batch_verify_to_last_hidden_states, MLBENCH_BATCH_VERIFY_TO_LAST_HIDDEN_STATES));
using PartKind = backends::Part::Kind;
static_assert(same(PartKind::enter, MLBENCH_PART_ENTER) && same(PartKind::layer, MLBENCH_PART_LAYER) &&
              same(PartKind::final_norm, MLBENCH_PART_FINAL_NORM));
static_assert(same(Tap::embed_token, MLBENCH_TAP_EMBED_TOKEN) &&
              same(Tap::embed_position, MLBENCH_TAP_EMBED_POSITION) && same(Tap::embed, MLBENCH_TAP_EMBED) &&
              same(Tap::rope_cos, MLBENCH_TAP_ROPE_COS) && same(Tap::rope_sin, MLBENCH_TAP_ROPE_SIN) &&
              same(Tap::attn_norm, MLBENCH_TAP_ATTN_NORM) && same(Tap::qkv_proj, MLBENCH_TAP_QKV_PROJ) &&
              same(Tap::q_proj, MLBENCH_TAP_Q_PROJ) && same(Tap::k_proj, MLBENCH_TAP_K_PROJ) &&
              same(Tap::v_proj, MLBENCH_TAP_V_PROJ) && same(Tap::q_norm, MLBENCH_TAP_Q_NORM) &&
              same(Tap::k_norm, MLBENCH_TAP_K_NORM) && same(Tap::q, MLBENCH_TAP_Q) && same(Tap::k, MLBENCH_TAP_K) &&
              same(Tap::v, MLBENCH_TAP_V) && same(Tap::probs, MLBENCH_TAP_PROBS) &&
              same(Tap::context, MLBENCH_TAP_CONTEXT) && same(Tap::attn_out, MLBENCH_TAP_ATTN_OUT) &&
              same(Tap::attn_residual, MLBENCH_TAP_ATTN_RESIDUAL) && same(Tap::mlp_norm, MLBENCH_TAP_MLP_NORM) &&
              same(Tap::gate, MLBENCH_TAP_GATE) && same(Tap::up, MLBENCH_TAP_UP) && same(Tap::act, MLBENCH_TAP_ACT) &&
              same(Tap::mlp_hidden, MLBENCH_TAP_MLP_HIDDEN) && same(Tap::mlp_out, MLBENCH_TAP_MLP_OUT) &&
              same(Tap::layer_out, MLBENCH_TAP_LAYER_OUT) && same(Tap::final_norm, MLBENCH_TAP_FINAL_NORM) &&
              same(Tap::logits, MLBENCH_TAP_LOGITS) && same(Tap::logits, MLBENCH_NUM_TAPS - 1));
static_assert(same(Tap::attn_part, MLBENCH_TAP_ATTN_PART) && same(Tap::mlp_part, MLBENCH_TAP_MLP_PART) &&
              same(Tap::block_part, MLBENCH_TAP_BLOCK_PART) && same(Tap::block_sum, MLBENCH_TAP_BLOCK_SUM) &&
              same(Tap::stage_in, MLBENCH_TAP_STAGE_IN) && kNumTaps == MLBENCH_NUM_TAPS_OF_WORKERS);

std::int32_t flag(bool value) { return value ? 1 : 0; }

template <class Struct>
Struct sized() {
  Struct out{};
  out.struct_size = sizeof(Struct);
  return out;
}

// What a structure of the first revision has, of so many bytes, every later one has too.
template <class Struct>
void require_size(const Struct& given, const char* what, std::size_t first = sizeof(Struct)) {
  if (given.struct_size >= first) return;
  throw backend_failed(fmt::format("{}: struct_size {}, this version has {}", what, given.struct_size, first));
}

// Whether whoever made it knows where parts of models stand and meet.
bool has_group(const mlbench_run& run) { return run.struct_size >= sizeof(mlbench_run); }

template <class Enum>
Enum enum_of(std::int32_t value, std::int32_t last, const char* what) {
  if (value < 0 || value > last) throw backend_failed(fmt::format("{} {}: there are 0..{}", what, value, last));
  return static_cast<Enum>(value);
}

mlbench_norm norm_of(Architecture architecture) {
  if (architecture == Architecture::llama) return MLBENCH_RMS_NORM;
  return architecture == Architecture::olmo ? MLBENCH_LAYER_NORM_PLAIN : MLBENCH_LAYER_NORM;
}

mlbench_rope rope_to_c(const RopeConfig& rope) {
  auto c = sized<mlbench_rope>();
  c.kind = static_cast<std::int32_t>(rope.kind);
  c.theta = rope.theta;
  c.rotary_dim = rope.rotary_dim;
  c.max_positions = rope.max_positions;
  c.original_max_positions = rope.original_max_positions;
  c.factor = rope.factor;
  c.low_freq_factor = rope.low_freq_factor;
  c.high_freq_factor = rope.high_freq_factor;
  c.beta_fast = rope.beta_fast;
  c.beta_slow = rope.beta_slow;
  c.mscale = rope.mscale;
  c.mscale_all_dim = rope.mscale_all_dim;
  c.attention_factor = rope.attention_factor.value_or(0.0);
  c.has_attention_factor = flag(rope.attention_factor.has_value());
  c.truncate = flag(rope.truncate);
  return c;
}

mlbench_config config_to_c(const ModelConfig& config) {
  auto c = sized<mlbench_config>();
  c.architecture = static_cast<std::int32_t>(config.architecture);
  c.hidden_size = config.hidden_size;
  c.intermediate_size = config.intermediate_size;
  c.num_layers = config.num_layers;
  c.num_heads = config.num_heads;
  c.num_kv_heads = config.num_kv_heads;
  c.head_dim = config.head_dim;
  c.vocab_size = config.vocab_size;
  c.norm_eps = config.norm_eps;
  c.clip_qkv = config.clip_qkv.value_or(0.0);
  c.num_positions = config.num_positions;
  c.norm = norm_of(config.architecture);
  c.activation = static_cast<std::int32_t>(config.activation);
  c.gated_mlp = flag(config.gated_mlp());
  c.parallel_block = flag(config.architecture == Architecture::phi);
  c.tie_word_embeddings = flag(config.tie_word_embeddings);
  c.attention_bias = flag(config.attention_bias);
  c.mlp_bias = flag(config.mlp_bias);
  c.qk_layernorm = flag(config.qk_layernorm);
  c.multi_query = flag(config.multi_query);
  c.scale_attn_weights = flag(config.scale_attn_weights);
  c.has_clip_qkv = flag(config.clip_qkv.has_value());
  c.disaggregation = flag(config.disaggregation);
  c.context_window_size = config.context_window_size;
  c.prefill_chunk_size = config.prefill_chunk_size;
  c.tensor_parallel_shards = config.tensor_parallel_shards;
  c.pipeline_parallel_stages = config.pipeline_parallel_stages;
  c.max_batch_size = config.max_batch_size;
  return c;
}

RopeConfig rope_of(const mlbench_rope& c) {
  require_size(c, "mlbench_rope");
  RopeConfig rope;
  rope.kind = enum_of<RopeKind>(c.kind, MLBENCH_ROPE_LONGROPE, "rope kind");
  rope.theta = c.theta;
  rope.rotary_dim = c.rotary_dim;
  rope.max_positions = c.max_positions;
  rope.original_max_positions = c.original_max_positions;
  rope.factor = c.factor;
  rope.low_freq_factor = c.low_freq_factor;
  rope.high_freq_factor = c.high_freq_factor;
  rope.beta_fast = c.beta_fast;
  rope.beta_slow = c.beta_slow;
  rope.mscale = c.mscale;
  rope.mscale_all_dim = c.mscale_all_dim;
  if (c.has_attention_factor != 0) rope.attention_factor = c.attention_factor;
  rope.truncate = c.truncate != 0;
  const auto half = static_cast<std::size_t>(std::max<std::int64_t>(0, c.rotary_dim / 2));
  if (c.short_factor != nullptr) rope.short_factor.assign(c.short_factor, c.short_factor + half);
  if (c.long_factor != nullptr) rope.long_factor.assign(c.long_factor, c.long_factor + half);
  return rope;
}

template <class Tensor>
Shape shape_of(const Tensor& tensor, bool has_data = true) {
  if (tensor.rank < 0 || tensor.rank > MLBENCH_MAX_RANK)
    throw backend_failed(fmt::format("a tensor of rank {}: there are 0..{}", tensor.rank, MLBENCH_MAX_RANK));
  Shape shape(tensor.shape, tensor.shape + tensor.rank);
  const auto bytes = bytes_of(dtype_of(tensor.dtype, "a tensor"), shape);
  if (!bytes) throw backend_failed(fmt::format("a tensor of shape {}", to_string(shape)));
  if (has_data && *bytes > 0 && tensor.data == nullptr) throw backend_failed("a tensor without data");
  return shape;
}

template <class Tensor, class View>
Tensor tensor_to_c(const View& view) {
  if (view.shape.size() > MLBENCH_MAX_RANK) throw backend_failed("a tensor of too high a rank");
  Tensor c{};
  c.dtype = static_cast<std::int32_t>(view.dtype);
  c.rank = static_cast<std::int32_t>(view.shape.size());
  std::copy(view.shape.begin(), view.shape.end(), c.shape);
  c.data = view.data;
  return c;
}

WeightView weight_of(const mlbench_weight& weight) {
  const ConstTensorView view = view_of(weight.tensor);
  if (view.shape.empty() || view.shape.size() > 2)
    throw backend_failed(fmt::format("weight {} of shape {}", weight.name, to_string(view.shape)));
  const bool vector = view.shape.size() == 1;
  return {view.dtype, vector ? 1 : view.shape[0], view.shape.back(), view.data};
}

}  // namespace

std::string clean_text(const char* text, std::size_t capacity) {
  if (text == nullptr) return "";
  std::string_view rest(text, ::strnlen(text, capacity));
  std::string out;
  while (true) {
    // in_quotes() would escape these two as well, but they harm no line.
    const std::size_t end = std::min(rest.find_first_of("\\\""), rest.size());
    const std::string quoted = in_quotes(rest.substr(0, end), capacity + 1);
    out += quoted.substr(1, quoted.size() - 2);
    if (end == rest.size()) return out;
    out += rest[end];
    rest.remove_prefix(end + 1);
  }
}

void copy_text(std::string_view text, char* out, std::size_t capacity) {
  if (capacity == 0) return;
  std::size_t size = std::min(text.size(), capacity - 1);
  // Back to the first byte of a character that would be cut.
  while (size > 0 && size < text.size() && (static_cast<unsigned char>(text[size]) & 0xC0U) == 0x80U) --size;
  std::memcpy(out, text.data(), size);
  out[size] = '\0';
}

Error backend_failed(const std::string& message) { return Error(ErrorKind::internal, "backend.failed", message); }

CConfig::CConfig(const ModelConfig& config) : parts_(std::make_unique<Parts>()) {
  parts_->short_factor = config.rope.short_factor;
  parts_->long_factor = config.rope.long_factor;
  parts_->dtype = config.dtype;
  parts_->json = hf_config_json(config).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  parts_->rope = rope_to_c(config.rope);
  if (!parts_->short_factor.empty()) parts_->rope.short_factor = parts_->short_factor.data();
  if (!parts_->long_factor.empty()) parts_->rope.long_factor = parts_->long_factor.data();
  parts_->config = config_to_c(config);
  parts_->config.rope = &parts_->rope;
  parts_->config.dtype = parts_->dtype.c_str();
  parts_->config.json = parts_->json.c_str();
}

mlbench_run to_c(const backends::RunConfig& run) {
  auto c = sized<mlbench_run>();
  c.dtype = static_cast<std::int32_t>(run.dtype);
  c.device = run.device.c_str();
  c.threads = run.threads;
  c.tensor_parallel = run.tensor_parallel;
  c.pipeline_parallel = run.pipeline_parallel;
  c.shard = run.shard;
  c.stage = run.stage;
  c.first_layer = run.first_layer;
  c.micro_batches = run.micro_batches == 0 ? run.pipeline_parallel : run.micro_batches;
  return c;
}

mlbench_kv_limits to_c(const KvLimits& limits) {
  auto c = sized<mlbench_kv_limits>();
  c.support_sliding_window = flag(limits.support_sliding_window);
  c.max_batch_size = limits.max_batch_size;
  c.max_total_seq_len = limits.max_total_seq_len;
  c.prefill_chunk_size = limits.prefill_chunk_size;
  c.page_size = limits.page_size;
  return c;
}

mlbench_tensor to_c(const TensorView& view) { return tensor_to_c<mlbench_tensor>(view); }
mlbench_const_tensor to_c(const ConstTensorView& view) { return tensor_to_c<mlbench_const_tensor>(view); }

std::vector<NamedTensor> tensors_of(const ModelConfig& config) {
  std::vector<NamedTensor> out;
  const auto take = [&](const std::vector<TensorSpec>& specs) {
    for (const TensorSpec& spec : specs) out.push_back({spec.name, spec.shape});
  };
  take(global_tensors(config));
  for (Index layer = 0; layer < config.num_layers; ++layer) take(layer_tensors(config, layer));
  if (config.tie_word_embeddings) out.push_back({kLmHeadName, {config.vocab_size, config.hidden_size}});
  std::ranges::sort(out, {}, &NamedTensor::name);
  return out;
}

CModel::CModel(const Model& model)
    : parts_(std::make_unique<Parts>(Parts{CConfig(model.config), tensors_of(model.config), {}, model.origin, {}})) {
  for (const NamedTensor& tensor : parts_->names) {
    const WeightView& view = model.weights->get(tensor.name);
    parts_->weights.push_back({tensor.name.c_str(), to_c(ConstTensorView{view.dtype, tensor.shape, view.data})});
  }
  parts_->model = sized<mlbench_model>();
  parts_->model.config = parts_->config.get();
  parts_->model.weights = parts_->weights.data();
  parts_->model.num_weights = static_cast<std::int64_t>(parts_->weights.size());
  parts_->model.origin = parts_->origin.c_str();
}

DType dtype_of(std::int32_t dtype, std::string_view what) {
  if (dtype >= MLBENCH_F64 && dtype <= MLBENCH_F16) return static_cast<DType>(dtype);
  throw backend_failed(fmt::format("{} of type {}: there are 0..{}", what, dtype, static_cast<int>(MLBENCH_F16)));
}

backends::Summation summation_of(std::int32_t fused, std::int32_t truncates, std::string_view what) {
  if (fused >= 1) return {.fused = fused, .truncates = truncates != 0};
  throw backend_failed(fmt::format("{} in blocks of {}: must be at least 1", what, fused));
}

ConstTensorView view_of(const mlbench_const_tensor& tensor) {
  Shape shape = shape_of(tensor);
  return {static_cast<DType>(tensor.dtype), std::move(shape), static_cast<const std::byte*>(tensor.data)};
}

TensorView view_of(const mlbench_tensor& tensor) {
  Shape shape = shape_of(tensor);
  return {static_cast<DType>(tensor.dtype), std::move(shape), static_cast<std::byte*>(tensor.data)};
}

ConstTensorView form_of(const mlbench_const_tensor& tensor) {
  Shape shape = shape_of(tensor, false);
  return {static_cast<DType>(tensor.dtype), std::move(shape), static_cast<const std::byte*>(tensor.data)};
}

TensorView form_of(const mlbench_tensor& tensor) {
  Shape shape = shape_of(tensor, false);
  return {static_cast<DType>(tensor.dtype), std::move(shape), static_cast<std::byte*>(tensor.data)};
}

ModelConfig config_of(const mlbench_config& c) {
  require_size(c, "mlbench_config");
  ModelConfig config;
  config.architecture = enum_of<Architecture>(c.architecture, MLBENCH_GPT_BIGCODE, "architecture");
  config.hidden_size = c.hidden_size;
  config.intermediate_size = c.intermediate_size;
  config.num_layers = c.num_layers;
  config.num_heads = c.num_heads;
  config.num_kv_heads = c.num_kv_heads;
  config.head_dim = c.head_dim;
  config.vocab_size = c.vocab_size;
  config.norm_eps = c.norm_eps;
  config.activation = enum_of<Activation>(c.activation, MLBENCH_RELU, "activation");
  config.tie_word_embeddings = c.tie_word_embeddings != 0;
  config.rope = rope_of(*c.rope);
  config.attention_bias = c.attention_bias != 0;
  config.mlp_bias = c.mlp_bias != 0;
  if (c.has_clip_qkv != 0) config.clip_qkv = c.clip_qkv;
  config.qk_layernorm = c.qk_layernorm != 0;
  config.multi_query = c.multi_query != 0;
  config.scale_attn_weights = c.scale_attn_weights != 0;
  config.num_positions = c.num_positions;
  config.context_window_size = c.context_window_size;
  config.prefill_chunk_size = c.prefill_chunk_size;
  config.tensor_parallel_shards = c.tensor_parallel_shards;
  config.pipeline_parallel_stages = c.pipeline_parallel_stages;
  config.max_batch_size = c.max_batch_size;
  config.disaggregation = c.disaggregation != 0;
  config.dtype = c.dtype;
  return config;
}

backends::RunConfig run_of(const mlbench_run& c) {
  require_size(c, "mlbench_run", offsetof(mlbench_run, first_layer));
  backends::RunConfig run{.dtype = dtype_of(c.dtype, "mlbench_run"),
                          .device = c.device,
                          .threads = c.threads,
                          .tensor_parallel = c.tensor_parallel,
                          .pipeline_parallel = c.pipeline_parallel,
                          .shard = c.shard,
                          .stage = c.stage};
  if (!has_group(c)) return run;
  run.first_layer = c.first_layer;
  run.micro_batches = c.micro_batches;
  return run;
}

const mlbench_group* group_in(const mlbench_run& c) { return has_group(c) ? c.group : nullptr; }

KvLimits limits_of(const mlbench_kv_limits& c) {
  require_size(c, "mlbench_kv_limits");
  return {.max_batch_size = c.max_batch_size,
          .max_total_seq_len = c.max_total_seq_len,
          .prefill_chunk_size = c.prefill_chunk_size,
          .page_size = c.page_size,
          .support_sliding_window = c.support_sliding_window != 0};
}

Model model_of(const mlbench_model& c) {
  require_size(c, "mlbench_model");
  Model model;
  model.config = config_of(*c.config);
  model.origin = c.origin;
  const auto weights = std::make_shared<Weights>();
  for (std::int64_t i = 0; i < c.num_weights; ++i) weights->put(c.weights[i].name, weight_of(c.weights[i]));
  model.weights = weights;
  return model;
}

std::optional<TapId> tap_of(std::int32_t tap, std::int64_t layer, LayerRange layers) {
  if (tap < 0 || tap >= MLBENCH_NUM_TAPS_OF_WORKERS) return std::nullopt;
  const TapId id{static_cast<Tap>(tap), layer};
  const bool here = layer >= layers.first && layer < layers.first + layers.count;
  const bool fits = per_layer(id.tap) ? here : layer == -1;
  return fits ? std::optional(id) : std::nullopt;
}

std::optional<backends::DeviceRates> rates_of(double read_bytes_per_second, double flops_per_second) {
  for (const double rate : {read_bytes_per_second, flops_per_second}) {
    if (std::isfinite(rate) && rate >= 0.0) continue;
    throw backend_failed(fmt::format("measure_rates: {:g} per second: a finite number, at least 0, is needed", rate));
  }
  if (read_bytes_per_second == 0.0 && flops_per_second == 0.0) return std::nullopt;
  return backends::DeviceRates{read_bytes_per_second, flops_per_second};
}

std::optional<std::size_t> bytes_of(DType dtype, const Shape& shape) {
  auto bytes = static_cast<Index>(size_bytes(dtype));
  for (const Index dim : shape) {
    if (dim < 0 || __builtin_mul_overflow(bytes, dim, &bytes)) return std::nullopt;
  }
  return static_cast<std::size_t>(bytes);
}

}  // namespace mlbench::plugin
