#include "backends/gpu/decoder.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::gpu {
namespace {

// Entries of a part of a row's attention, at least; and rows of key-value heads that keep a processor busy.
constexpr Index kLeastPart = 128, kBlocksPerProcessor = 2;
constexpr Index kMostSplits = 64;

}  // namespace

Decoder::Decoder(Runtime& runtime, Stream& stream, const Model& model, const backends::RunConfig& run)
    : runtime_(runtime),
      stream_(stream),
      config_(model.config),
      design_(stack::design_of(config_)),
      run_(run),
      stored_(run.dtype),
      weights_(runtime, stream, model, stored_, run.tensor_parallel),
      rotation_(config_.rope),
      growing_(runtime),
      plan_(runtime) {}

void Decoder::embed(std::span<const std::int32_t> ids, std::byte* out) {
  const auto n = static_cast<Index>(ids.size());
  auto* device = static_cast<std::int32_t*>(growing_.reserve(ids_, ids.size_bytes(), "token ids"));
  runtime_.copy_in(stream_, device, ids.data(), ids.size_bytes());
  float* rows = this->rows(n);
  runtime_.kernels().embed(stream_, {.stored = stored_,
                                     .table = weights_.tokens.data(),
                                     .ids = device,
                                     .out = rows,
                                     .rows = n,
                                     .width = config_.hidden_size});
  runtime_.copy_out(stream_, out, rows, static_cast<std::uint64_t>(n * config_.hidden_size) * sizeof(float));
  stream_.synchronize();
}

void Decoder::begin(DeviceCache& cache) {
  const paging::ForwardPlan& plan = cache.plan();
  Index end = 0;
  for (std::size_t row = 0; row < plan.rows.size(); ++row) {
    const Index position = plan.rows[row].position;
    end = std::max(end, position + 1);
    if (!design_.learned_positions || position < weights_.num_positions) continue;
    throw request_error("input.position_range",
                        fmt::format("row {} is at position {}: the position embedding ends at {}", row, position,
                                    weights_.num_positions - 1));
  }
  cache_ = &cache;
  pending_ = {};
  plan_.set(plan, growing_);
  rows_ = plan_.rows();
  if (!design_.learned_positions) rotation_.cover(end, runtime_, stream_, growing_);
  const Index width = std::max(config_.hidden_size, config_.intermediate_size), q = config_.q_width();
  const std::uint64_t bytes = size_bytes(stored_);
  const auto stored_rows = [&](Memory& memory, Index columns, const char* what) {
    growing_.reserve(memory, static_cast<std::uint64_t>(rows_ * columns) * bytes, what);
  };
  (void)rows(rows_);
  stored_rows(norm_, config_.hidden_size, "normalized rows");
  stored_rows(context_, q, "contexts");
  stored_rows(hidden_, config_.intermediate_size, "hidden rows of the MLP");
  growing_.floats(qkv_, rows_ * (q + 2 * config_.kv_width()), "queries, keys and values");
  growing_.floats(q_, rows_ * q, "queries");
  growing_.floats(attn_out_, rows_ * config_.hidden_size, "results of attention");
  growing_.floats(up_, rows_ * (design_.gated ? 2 : 1) * config_.intermediate_size, "rows of the MLP");
  growing_.floats(mlp_out_, rows_ * config_.hidden_size, "results of the MLP");
  growing_.floats(tap_, rows_ * std::max(width, q + config_.kv_width()), "taps");
  if (!plan_.tiled())
    growing_.floats(partial_, rows_ * config_.num_heads * splits() * (config_.head_dim + 2), "parts of attention");
}

std::vector<Index> Decoder::shape() const {
  std::vector<Index> out = plan_.shape();
  out.push_back(splits());
  return out;
}

Index Decoder::splits() const {
  const Index blocks = rows_ * config_.num_kv_heads;
  const Index wanted = kBlocksPerProcessor * runtime_.properties().processors / std::max<Index>(1, blocks);
  // Of a power of two, so that it seldom changes while a sequence grows.
  const auto most = static_cast<Index>(std::bit_ceil(static_cast<std::uint64_t>(plan_.longest()))) / kLeastPart;
  return std::clamp<Index>(wanted, 1, std::clamp<Index>(most, 1, kMostSplits));
}

void Decoder::enter(Taps& taps) {
  taps.set_layer(-1);
  const Index h = config_.hidden_size;
  if (design_.learned_positions) {
    taps.rows(Tap::embed_token, x_.floats(), rows_, h);
    runtime_.kernels().add_positions(stream_, {.stored = stored_,
                                               .table = weights_.positions.data(),
                                               .positions = plan_.positions(),
                                               .x = x_.floats(),
                                               .added = taps.wants(Tap::embed_position) ? tap_.floats() : nullptr,
                                               .rows = rows_,
                                               .width = h});
    taps.rows(Tap::embed_position, tap_.floats(), rows_, h);
  }
  taps.rows(Tap::embed, x_.floats(), rows_, h);
  if (!design_.learned_positions) give_rotation(taps);
}

void Decoder::give_rotation(Taps& taps) const {
  const Index half = rotation_.half();
  for (const Tap tap : {Tap::rope_cos, Tap::rope_sin}) {
    if (!taps.wants(tap)) continue;
    std::vector<float> both;  // halves repeated
    for (const paging::PlannedRow& row : cache_->plan().rows) {
      const float* values = tap == Tap::rope_cos ? rotation_.cos(row.position) : rotation_.sin(row.position);
      both.insert(both.end(), values, values + half);
      both.insert(both.end(), values, values + half);
    }
    taps.give(tap, DType::f32, {rows_, 2 * half}, reinterpret_cast<const std::byte*>(both.data()));
  }
}

NormCall Decoder::norm_call(const DeviceNorm& norm) {
  const Pending added = std::exchange(pending_, {});
  return {.subtracts_mean = design_.norm.kind == stack::NormKind::layer,
          .eps = design_.norm.eps,
          .weight = norm.weight.floats(),
          .bias = norm.bias.floats(),
          .x = x_.floats(),
          .first = added.first,
          .second = added.second,
          .stored = stored_,
          .rows = rows_,
          .width = config_.hidden_size};
}

void Decoder::normalize(const DeviceNorm& norm, Tap tap, Taps& taps) {
  NormCall call = norm_call(norm);
  call.y = taps.wants(tap) ? tap_.floats() : nullptr;
  call.y_stored = norm_.data();
  runtime_.kernels().normalize(stream_, call);
  taps.rows(tap, tap_.floats(), rows_, config_.hidden_size);
}

void Decoder::settle() {
  if (pending_.first == nullptr) return;
  NormCall call = norm_call({});
  call.normalizes = false;
  runtime_.kernels().normalize(stream_, call);
}

void Decoder::final_norm(Taps& taps) {
  taps.set_layer(-1);
  settle();
  NormCall call = norm_call(weights_.final_norm);
  call.y = x_.floats();
  runtime_.kernels().normalize(stream_, call);
  taps.rows(Tap::final_norm, x_.floats(), rows_, config_.hidden_size);
}

void Decoder::multiply(const DeviceLinear& linear, const void* weight, const void* x, Index rows, float* y) {
  runtime_.multiply(stream_, {.stored = stored_,
                              .x = x,
                              .weight = weight,
                              .bias = linear.bias.floats(),
                              .y = y,
                              .rows = rows,
                              .in = linear.in,
                              .out = linear.out});
}

void Decoder::multiply(const DeviceLinear& linear, const void* x, Index rows, float* y) {
  multiply(linear, linear.weight.data(), x, rows, y);
}

void Decoder::layer(Index index, Taps& taps) {
  const DeviceLayer& w = weights_.layers[static_cast<std::size_t>(index)];
  const Index h = config_.hidden_size;
  taps.set_layer(index);
  normalize(w.attn_norm, Tap::attn_norm, taps);
  attention(index, w, taps);
  if (design_.parallel) {
    mlp(w, taps);
    pending_ = run_.tensor_parallel > 1 ? block_of_all(taps) : Pending{attn_out_.floats(), mlp_out_.floats()};
  } else {
    pending_.first = attn_out_.floats();
    normalize(w.mlp_norm, Tap::mlp_norm, taps);
    taps.rows(Tap::attn_residual, x_.floats(), rows_, h);
    mlp(w, taps);
    pending_.first = mlp_out_.floats();
  }
  if (taps.wants(Tap::layer_out)) settle();
  taps.rows(Tap::layer_out, x_.floats(), rows_, h);
}

void Decoder::project(const DeviceLayer& w, Taps& taps) {
  const Index q = config_.q_width(), kv = config_.kv_width(), all = q + 2 * kv;
  multiply(w.qkv, norm_.data(), rows_, qkv_.floats());
  if (design_.qkv != stack::QkvLayout::separate) return taps.rows(Tap::qkv_proj, qkv_.floats(), rows_, all);
  taps.rows(Tap::q_proj, qkv_.floats(), rows_, q, all, 0);
  taps.rows(Tap::k_proj, qkv_.floats(), rows_, kv, all, q);
  taps.rows(Tap::v_proj, qkv_.floats(), rows_, kv, all, q + kv);
}

void Decoder::rotate_and_append(Index index, const DeviceLayer& w, Taps& taps) {
  const Index Hq = config_.num_heads, Hkv = config_.num_kv_heads, d = config_.head_dim;
  const bool interleaved = design_.qkv == stack::QkvLayout::interleaved;
  HeadRows q{.data = qkv_.floats(), .row_stride = (Hq + 2 * Hkv) * d, .head_stride = interleaved ? 3 * d : d};
  HeadRows k = q, v = q;
  k.data = q.data + (interleaved ? d : Hq * d);
  v.data = k.data + (interleaved ? d : Hkv * d);
  float* q_normed = taps.wants(Tap::q_norm) ? tap_.floats() : nullptr;
  float* k_normed = taps.wants(Tap::k_norm) ? tap_.floats() + rows_ * config_.q_width() : nullptr;
  const bool rotates = !design_.learned_positions;
  runtime_.kernels().rotate_and_append(stream_,
                                       {.q = q,
                                        .k = k,
                                        .v = v,
                                        .rows = rows_,
                                        .heads = Hq,
                                        .kv_heads = Hkv,
                                        .width = d,
                                        .clip = config_.clip_qkv ? static_cast<float>(*config_.clip_qkv) : 0.0F,
                                        .q_weight = w.q_norm.weight.floats(),
                                        .q_bias = w.q_norm.bias.floats(),
                                        .k_weight = w.k_norm.weight.floats(),
                                        .k_bias = w.k_norm.bias.floats(),
                                        .norm_eps = design_.norm.eps,
                                        .cos = rotates ? rotation_.device_cos() : nullptr,
                                        .sin = rotates ? rotation_.device_sin() : nullptr,
                                        .positions = plan_.positions(),
                                        .rotary = rotates ? 2 * rotation_.half() : 0,
                                        .slots = plan_.slots(),
                                        .layer = index,
                                        .cache = cache_->view(),
                                        .q_out = q_.floats(),
                                        .q_normed = q_normed,
                                        .k_normed = k_normed});
  taps.heads(Tap::q_norm, q_normed, rows_, Hq, d);
  taps.heads(Tap::k_norm, k_normed, rows_, Hkv, d);
  taps.heads(Tap::q, q_.floats(), rows_, Hq, d);
  give_stored(Tap::k, index, 0, taps);
  give_stored(Tap::v, index, 1, taps);
}

void Decoder::give_stored(Tap tap, Index layer, Index kind, const Taps& taps) const {
  if (!taps.wants(tap)) return;
  const Index heads = config_.num_kv_heads, d = config_.head_dim;
  std::vector<Index> slots;
  for (Index row = 0; row < rows_; ++row) slots.push_back(cache_->slot(row));
  const std::size_t head = static_cast<std::size_t>(d) * size_bytes(stored_);
  std::vector<std::byte> rows(static_cast<std::size_t>(rows_ * heads) * head), out(rows.size());
  cache_->read_layer(layer, kind, slots, rows.data());
  for (Index row = 0; row < rows_; ++row) {
    for (Index h = 0; h < heads; ++h)
      std::copy_n(rows.data() + static_cast<std::size_t>(row * heads + h) * head, head,
                  out.data() + static_cast<std::size_t>(h * rows_ + row) * head);
  }
  taps.give(tap, stored_, {heads, rows_, d}, out.data());
}

void Decoder::attend(Index index, Taps& taps) {
  const Index Hq = config_.num_heads, longest = plan_.longest();
  AttentionCall call{.q = q_.floats(),
                     .rows = rows_,
                     .heads = Hq,
                     .cache = cache_->view(),
                     .layer = index,
                     .scale = design_.score_scale,
                     .visible = plan_.visible(),
                     .context = taps.wants(Tap::context) ? tap_.floats() : nullptr,
                     .context_stored = context_.data()};
  if (taps.wants(Tap::probs)) {
    call.probs = growing_.floats(second_tap_, Hq * rows_ * longest, "probabilities");
    call.probs_stride = longest;
    runtime_.clear(stream_, call.probs, static_cast<std::uint64_t>(Hq * rows_ * longest) * sizeof(float));
  }
  if (plan_.tiled()) {
    runtime_.kernels().attend_tiles(stream_, {.attention = call, .tiles = plan_.tiles(), .count = plan_.num_tiles()});
  } else {
    runtime_.kernels().attend_rows(stream_, {.attention = call, .splits = splits(), .partial = partial_.floats()});
  }
  taps.whole(Tap::probs, call.probs, {Hq, rows_, longest});
  taps.rows(Tap::context, tap_.floats(), rows_, config_.q_width());
}

void Decoder::attention(Index index, const DeviceLayer& w, Taps& taps) {
  project(w, taps);
  rotate_and_append(index, w, taps);
  attend(index, taps);
  multiply(w.attn_out, context_.data(), rows_, attn_out_.floats());
  sum_over_shards(attn_out_.floats(), Tap::attn_part, Tap::attn_out, taps);
}

void Decoder::mlp(const DeviceLayer& w, Taps& taps) {
  const Index width = config_.intermediate_size, stride = (design_.gated ? 2 : 1) * width;
  float* first = up_.floats();
  multiply(w.up, norm_.data(), rows_, first);
  if (design_.gated) taps.rows(Tap::gate, first, rows_, width, stride);
  taps.rows(Tap::up, first, rows_, width, stride, stride - width);
  const Tap hidden_tap = design_.gated ? Tap::mlp_hidden : Tap::act;
  ActivationCall call{.kind = config_.activation,
                      .gate = first,
                      .up = design_.gated ? first + width : nullptr,
                      .stride = stride,
                      .act = design_.gated && taps.wants(Tap::act)
                                 ? growing_.floats(second_tap_, rows_ * width, "activations")
                                 : nullptr,
                      .hidden = taps.wants(hidden_tap) ? tap_.floats() : nullptr,
                      .stored = stored_,
                      .hidden_stored = hidden_.data(),
                      .rows = rows_,
                      .width = width};
  runtime_.kernels().activate(stream_, call);
  if (design_.gated) taps.rows(Tap::act, call.act, rows_, width);
  taps.rows(hidden_tap, tap_.floats(), rows_, width);
  multiply(w.down, hidden_.data(), rows_, mlp_out_.floats());
  sum_over_shards(mlp_out_.floats(), Tap::mlp_part, Tap::mlp_out, taps);
}

bool Decoder::can_be_recorded() const {
  return run_.tensor_parallel == 1 || (collectives_ != nullptr && collectives_->can_be_recorded());
}

Decoder::Pending Decoder::block_of_all(const Taps& taps) {
  runtime_.kernels().normalize(stream_, {.x = attn_out_.floats(),
                                         .first = mlp_out_.floats(),
                                         .normalizes = false,
                                         .stored = stored_,
                                         .rows = rows_,
                                         .width = config_.hidden_size});
  sum_over_shards(attn_out_.floats(), Tap::block_part, Tap::block_sum, taps);
  return {attn_out_.floats(), nullptr};
}

void Decoder::sum_over_shards(float* rows, Tap part, Tap whole, const Taps& taps) {
  const Index h = config_.hidden_size;
  if (run_.tensor_parallel > 1) {
    taps.rows(part, rows, rows_, h);
    if (design_.parallel && part != Tap::block_part) return;
    if (collectives_ == nullptr) collectives_ = make_collectives(runtime_, runtime_.collective_library(), run_);
    collectives_->all_reduce(stream_, rows, rows_ * h);
  }
  taps.rows(whole, rows, rows_, h);
}

const float* Decoder::logits(Index first, Index count, const std::int32_t* chosen, Taps& taps) {
  const Index h = config_.hidden_size;
  const std::uint64_t bytes = static_cast<std::uint64_t>(count * h) * size_bytes(stored_);
  void* rows = growing_.reserve(chosen_, bytes, "rows for logits");
  float* out = growing_.floats(logits_, count * config_.vocab_size, "logits");
  runtime_.kernels().gather_rows(stream_, {.x = x_.floats() + first * h,
                                           .chosen = chosen,
                                           .out = nullptr,
                                           .stored = stored_,
                                           .out_stored = rows,
                                           .rows = count,
                                           .width = h});
  multiply(weights_.lm_head, weights_.lm_head_weight(), rows, count, out);
  taps.set_layer(-1);
  taps.rows(Tap::logits, out, count, config_.vocab_size);
  return out;
}

}  // namespace mlbench::gpu
