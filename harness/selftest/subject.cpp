#include "harness/selftest/subject.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "core/error.h"
#include "harness/selftest/subject_decoder.h"
#include "models/tensor_inventory.h"

namespace mlbench::selftest {
namespace {

using backends::Arithmetic;
using backends::Method;
using backends::Part;
using backends::RunConfig;
using backends::Support;

void require_shape(std::string_view where, const ConstTensorView& view, DType type, const Shape& shape) {
  if (view.dtype == type && view.shape == shape) return;
  throw request_error("input.shape", fmt::format("{}: expected {} {}, got {} {}", where, mlbench::name(type),
                                                 to_string(shape), mlbench::name(view.dtype), to_string(view.shape)));
}

void require_positions(std::span<const std::int32_t> positions, Index rows) {
  for (const std::int32_t position : positions) {
    if (position >= 0 && position < rows) continue;
    throw request_error("input.logit_position",
                        fmt::format("logit position {}: there are rows 0..{}", position, rows - 1));
  }
}

bool decode_shape(Method method) {
  return method == Method::batch_decode || method == Method::batch_decode_to_last_hidden_states ||
         method == Method::decode || method == Method::decode_to_last_hidden_states;
}

Rows chosen(const Rows& hidden, std::span<const std::int32_t> positions) {
  Rows out({static_cast<Index>(positions.size()), hidden.cols()});
  for (std::size_t i = 0; i < positions.size(); ++i) {
    std::ranges::copy(hidden.row(positions[i]), out.row(static_cast<Index>(i)).begin());
  }
  return out;
}

class SubjectSession final : public backends::Session {
 public:
  SubjectSession(const Model& model, DType type, const Planted& planted)
      : decoder_(model, type, planted), planted_(planted) {}

  [[nodiscard]] Arithmetic arithmetic() const override {
    const DType type = decoder_.type();
    return {.weights = type,
            .activations = type,
            .kv_cache = type,
            .logits = DType::f32,
            .product_inputs = type,
            .attention_inputs = type,
            .accumulation = DType::f32,
            .f32_rope_angles = false};
  }
  [[nodiscard]] Support gives(Tap tap) const override {
    for (const TapSpec& spec : tap_specs(config())) {
      if (spec.tap == tap) return {};
    }
    return Support::no(fmt::format("{} has no tap {}", mlbench::name(config().architecture), mlbench::name(tap)));
  }
  [[nodiscard]] Support isolates_layers() const override { return {}; }
  [[nodiscard]] std::unique_ptr<backends::KvCache> create_paged_kv_cache(const KvLimits& limits) override {
    return std::make_unique<SubjectCache>(config(), decoder_.type(), limits, planted_);
  }

  void embed(std::span<const std::int32_t> ids, const TensorView& out) override;
  void get_logits(const ConstTensorView& hidden, const TensorView& out) override;
  void batch_select_last_hidden_states(const ConstTensorView& hidden, std::span<const std::int32_t> positions,
                                       const TensorView& out) override;
  void forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> logit_positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* sink) override;
  void run_part(const Part& part, const ConstTensorView& x, backends::KvCache& cache, const TensorView& out,
                backends::TapSink* sink) override;

 private:
  [[nodiscard]] const ModelConfig& config() const { return decoder_.config(); }
  [[nodiscard]] static SubjectCache& own(backends::KvCache& cache);
  [[nodiscard]] Index require_input(Method method, const ConstTensorView& x, Index rows) const;
  [[nodiscard]] Rows input(const ConstTensorView& x, Index rows) const;
  [[nodiscard]] Rows hidden_rows(const Rows& x, Method method, SubjectTaps& taps);
  [[nodiscard]] std::vector<std::int32_t> result_rows(Method method, Index rows,
                                                      std::span<const std::int32_t> positions) const;
  void write_logits(const Rows& hidden, const TensorView& out, SubjectTaps& taps) const;
  void write_hidden(Rows hidden, const TensorView& out) const;

  SubjectDecoder decoder_;
  Planted planted_;
};

SubjectCache& SubjectSession::own(backends::KvCache& cache) {
  auto* own = dynamic_cast<SubjectCache*>(&cache);
  if (own == nullptr) throw request_error("kv.state", "the cache was made by another backend");
  return *own;
}

void SubjectSession::embed(std::span<const std::int32_t> ids, const TensorView& out) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < config().vocab_size) continue;
    throw request_error("input.token_range", fmt::format("embed: token id {} at index {}: ids end at {}", ids[i], i,
                                                         config().vocab_size - 1));
  }
  require_shape("embed, result", out, decoder_.type(), {static_cast<Index>(ids.size()), config().hidden_size});
  copy_to(decoder_.embed(ids), out);
}

void SubjectSession::get_logits(const ConstTensorView& hidden, const TensorView& out) {
  const Index n = hidden.shape.empty() ? 0 : hidden.shape[0];
  require_shape("get_logits", hidden, decoder_.type(), {n, config().hidden_size});
  require_shape("get_logits, result", out, DType::f32, {n, config().vocab_size});
  SubjectTaps none(nullptr, decoder_.type());
  write_logits(rows_of(hidden, n), out, none);
}

void SubjectSession::batch_select_last_hidden_states(const ConstTensorView& hidden,
                                                     std::span<const std::int32_t> positions, const TensorView& out) {
  const Index n = hidden.shape.empty() ? 0 : hidden.shape[0];
  require_shape("batch_select_last_hidden_states", hidden, decoder_.type(), {n, config().hidden_size});
  require_positions(positions, n);
  require_shape("batch_select_last_hidden_states, result", out, decoder_.type(),
                {static_cast<Index>(positions.size()), config().hidden_size});
  std::vector<std::int32_t> rows(positions.begin(), positions.end());
  for (std::int32_t& row : rows) {
    if (row + 1 < n && planted_.at(Mistake::select_one_further)) ++row;
  }
  copy_to(chosen(rows_of(hidden, n), rows), out);
}

// The rows of x, padding included.
Index SubjectSession::require_input(Method method, const ConstTensorView& x, Index rows) const {
  const Index h = config().hidden_size;
  const bool decode = decode_shape(method);
  const bool batch = method != Method::decode && method != Method::decode_to_last_hidden_states;
  const Index n = x.shape.size() == 3 ? x.shape[decode ? 0 : 1] : 0;
  const bool enough = decode ? n == rows && (batch || rows == 1) : n >= rows;
  require_shape(backends::name(method), x, decoder_.type(),
                decode ? Shape{enough ? n : rows, 1, h} : Shape{1, enough ? n : rows, h});
  return n;
}

Rows SubjectSession::input(const ConstTensorView& x, Index rows) const {
  Rows out = rows_of(x, rows);
  const Index given = element_count(x.shape) / config().hidden_size;
  // As where one scale is computed for all rows of a matrix.
  if (given > rows && planted_.at(Mistake::padding_read)) {
    const Rows all = rows_of(x, given);
    float largest = 0.0F;
    for (const float value : all.values()) largest = value <= largest ? largest : value;
    for (float& value : out.values()) value += 0.0F * largest;
  }
  return out;
}

Rows SubjectSession::hidden_rows(const Rows& x, Method method, SubjectTaps& taps) {
  Rows rows = decoder_.enter(x, taps);
  for (Index layer = 0; layer < config().num_layers; ++layer) rows = decoder_.layer(layer, rows, taps);
  if (backends::returns_hidden(method) && planted_.at(Mistake::norm_final_skipped)) return rows;
  return decoder_.final_norm(rows, taps);
}

std::vector<std::int32_t> SubjectSession::result_rows(Method method, Index rows,
                                                      std::span<const std::int32_t> positions) const {
  std::vector<std::int32_t> out(positions.begin(), positions.end());
  if (method == Method::batch_prefill) {
    if (!std::ranges::is_sorted(out) && planted_.at(Mistake::result_positions_sorted)) std::ranges::sort(out);
    return out;
  }
  if (method == Method::prefill) {
    const bool before = rows > 1 && planted_.at(Mistake::result_row_before_last);
    return {static_cast<std::int32_t>(before ? rows - 2 : rows - 1)};
  }
  out.clear();
  for (Index row = 0; row < rows; ++row) out.push_back(static_cast<std::int32_t>(row));
  const bool batch_decode = method == Method::batch_decode && rows > 1;
  if (batch_decode && planted_.at(Mistake::result_batch_reversed)) std::ranges::reverse(out);
  return out;
}

void SubjectSession::write_logits(const Rows& hidden, const TensorView& out, SubjectTaps& taps) const {
  const Rows logits = decoder_.logits(hidden, taps);
  const std::size_t bytes = static_cast<std::size_t>(logits.size()) * sizeof(float);
  if (planted_.at(Mistake::logits_last_unwritten)) {
    std::memcpy(out.data, logits.data(), bytes - sizeof(float));
    return;
  }
  copy_to(logits, out);
  // One row is too many for a loop that goes by whole vectors.
  if (planted_.at(Mistake::result_written_past_end)) std::memset(out.data + bytes, 0, sizeof(float));
}

void SubjectSession::write_hidden(Rows hidden, const TensorView& out) const {
  if (planted_.at(Mistake::result_truncated)) {
    for (float& value : hidden.values()) {  // towards 0, to four bits less than bf16 has
      value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0xFFF00000U);
    }
  }
  copy_to(hidden, out);
}

void SubjectSession::forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> logit_positions,
                             backends::KvCache& cache, const TensorView& out, backends::TapSink* sink) {
  SubjectCache& kv = own(cache);
  const auto rows = static_cast<Index>(kv.plan().rows.size());
  const Index given = require_input(method, x, rows);
  if (method == Method::batch_prefill) require_positions(logit_positions, rows);
  SubjectTaps taps(sink, decoder_.type());
  decoder_.begin(kv);
  Rows hidden = hidden_rows(input(x, rows), method, taps);
  if (!taps.any() && planted_.at(Mistake::taps_change_result)) {  // as where steps are fused, and round elsewhere
    const float unit = decoder_.type() == DType::f32 ? 0x1p-23F : 0x1p-7F;
    for (float& value : hidden.values()) value = rounded(decoder_.type(), value * (1.0F + unit));
  }
  if (planted_.at(Mistake::input_overwritten)) std::memset(const_cast<std::byte*>(x.data), 0, sizeof(float));
  if (backends::returns_hidden(method)) {
    Shape shape = x.shape;
    require_shape("forward, result", out, decoder_.type(), shape);
    Rows padded({given, hidden.cols()});
    std::ranges::copy(hidden.values(), padded.values().begin());
    return write_hidden(std::move(padded), out);
  }
  if (!decode_shape(method) && method != Method::batch_prefill && method != Method::prefill) {
    // Logits of padding are undefined: those of the announced rows are written.
    TensorView announced{out.dtype, {1, rows, config().vocab_size}, out.data};
    return write_logits(hidden, announced, taps);
  }
  write_logits(chosen(hidden, result_rows(method, rows, logit_positions)), out, taps);
}

void SubjectSession::run_part(const Part& part, const ConstTensorView& x, backends::KvCache& cache,
                              const TensorView& out, backends::TapSink* sink) {
  SubjectCache& kv = own(cache);
  const Shape shape = {static_cast<Index>(kv.plan().rows.size()), config().hidden_size};
  require_shape("run_part", x, decoder_.type(), shape);
  require_shape("run_part, result", out, decoder_.type(), shape);
  if (part.kind == Part::Kind::layer && (part.layer < 0 || part.layer >= config().num_layers)) {
    throw request_error("input.shape", fmt::format("run_part: layer {}: the model has layers 0..{}", part.layer,
                                                   config().num_layers - 1));
  }
  SubjectTaps taps(sink, decoder_.type());
  decoder_.begin(kv);
  const Rows rows = rows_of(x, shape[0]);
  switch (part.kind) {
    case Part::Kind::enter: return copy_to(decoder_.enter(rows, taps), out);
    case Part::Kind::layer: return copy_to(decoder_.layer(part.layer, rows, taps), out);
    case Part::Kind::final_norm: return copy_to(decoder_.final_norm(rows, taps), out);
  }
}

class Subject final : public backends::Backend {
 public:
  explicit Subject(Planted planted) : planted_(std::move(planted)) {}

  [[nodiscard]] std::string_view name() const override { return "selftest"; }
  [[nodiscard]] std::string version() const override { return "plain loops"; }
  [[nodiscard]] std::vector<backends::DeviceInfo> devices() const override { return {{"cpu", "one thread", 0}}; }
  [[nodiscard]] Support supports(const ModelConfig&, const RunConfig& run) const override {
    if (run.dtype == DType::f32 || run.dtype == DType::bf16) return {};
    return Support::no(fmt::format("dtype {}: the selftest has f32 and bf16", mlbench::name(run.dtype)));
  }
  [[nodiscard]] backends::MemoryEstimate memory(const ModelConfig& config, const RunConfig&,
                                                const KvLimits& limits) const override {
    const auto entries = static_cast<std::uint64_t>(limits.max_total_seq_len + limits.page_size);
    return {.weights_bytes = static_cast<std::uint64_t>(parameter_count(config)) * sizeof(float),
            .cache_bytes = entries * static_cast<std::uint64_t>(kv_values_per_token(config)) * sizeof(float),
            .scratch_bytes = 0};
  }
  [[nodiscard]] std::unique_ptr<backends::Session> load(const Model& model, const RunConfig& run) override {
    return std::make_unique<SubjectSession>(model, run.dtype, planted_);
  }

 private:
  Planted planted_;
};

}  // namespace

std::unique_ptr<backends::Backend> make_subject(Planted planted) {
  return std::make_unique<Subject>(std::move(planted));
}

}  // namespace mlbench::selftest
