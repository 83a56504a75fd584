#include "backends/parallel/disaggregated_session.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "backends/parallel/disaggregated_cache.h"
#include "core/error.h"

namespace mlbench::parallel {
namespace {

using backends::Method;
using backends::Part;
using backends::Support;
using LastRow = DisaggregatedCache::LastRow;

void require_form(std::string_view doing, const char* what, const ConstTensorView& view, DType dtype,
                  const Shape& shape) {
  if (view.dtype == dtype && view.shape == shape) return;
  throw request_error("input.shape", fmt::format("{}: {}: expected {} {}, got {} {}", doing, what, name(dtype),
                                                 to_string(shape), name(view.dtype), to_string(view.shape)));
}

// The rows whose results a method gives, in their order.
RowNumbers result_rows(Method method, Index rows, std::span<const std::int32_t> positions) {
  if (method == Method::batch_prefill) return {positions.begin(), positions.end()};
  RowNumbers all(static_cast<std::size_t>(method == Method::prefill ? 1 : rows));
  std::iota(all.begin(), all.end(), method == Method::prefill ? rows - 1 : 0);
  return all;
}

class DisaggregatedSession final : public backends::Session, public MeasuredWorkers {
 public:
  DisaggregatedSession(ModelConfig config, Instances both)
      : config_(std::move(config)),
        prefill_(std::move(both.prefill)),
        decode_(std::move(both.decode)),
        receiver_offset_(both.receiver_offset),
        take_times_(std::move(both.take_times)) {}

  [[nodiscard]] backends::Arithmetic arithmetic() const override { return decode_->arithmetic(); }
  [[nodiscard]] Support gives(Tap tap) const override { return decode_->gives(tap); }
  [[nodiscard]] Support isolates_layers() const override { return decode_->isolates_layers(); }

  [[nodiscard]] std::unique_ptr<backends::KvCache> create_paged_kv_cache(const KvLimits& limits) override {
    return std::make_unique<DisaggregatedCache>(prefill_, decode_, receiver_offset_, config_, limits);
  }

  void embed(std::span<const std::int32_t> ids, const TensorView& out) override { decode_->embed(ids, out); }
  void get_logits(const ConstTensorView& hidden, const TensorView& out) override { decode_->get_logits(hidden, out); }
  void batch_select_last_hidden_states(const ConstTensorView& hidden, std::span<const std::int32_t> positions,
                                       const TensorView& out) override {
    decode_->batch_select_last_hidden_states(hidden, positions, out);
  }

  void forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> logit_positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    DisaggregatedCache& kv = own(cache);
    if (kv.is_decoding()) {
      decode_->forward(method, x, logit_positions, kv.decode(), out, taps);
      RowNumbers all(static_cast<std::size_t>(kv.rows()));
      std::iota(all.begin(), all.end(), 0);
      return kv.keep_rows(taken(x, all));
    }
    require_call(method, x, kv.rows(), logit_positions, out);
    const RowNumbers results = result_rows(method, kv.rows(), logit_positions);
    const SharedRows& rows = kv.share_out(LastRow::decode);
    std::optional<BlockTaps> both;
    if (taps != nullptr) both.emplace(std::array{rows.prefill, rows.decode}, *taps);

    const HostTensor prompt =
        prefill_rows(method, x, rows.prefill, results, kv.prefill(), both ? both->of(0) : nullptr);
    kv.end_prefill();
    kv.begin_decode();
    const HostTensor last = decode_rows(method, x, rows.decode, kv, both ? both->of(1) : nullptr);

    give(results, rows, prompt, last, backends::returns_hidden(method), out);
    if (!both) return;
    both->show(backends::name(method));
    if (const TapId id{Tap::logits, -1}; !backends::returns_hidden(method) && taps->wants(id))
      taps->take(id, {out.dtype, {static_cast<Index>(results.size()), config_.vocab_size}, out.data});
  }

  void run_part(const Part& part, const ConstTensorView& x, backends::KvCache& cache, const TensorView& out,
                backends::TapSink* taps) override {
    DisaggregatedCache& kv = own(cache);
    if (kv.is_decoding()) return decode_->run_part(part, x, kv.decode(), out, taps);
    const Shape shape = {kv.rows(), config_.hidden_size};
    require_form("run_part", "x", x, arithmetic().activations, shape);
    require_form("run_part", "result", out, arithmetic().activations, shape);
    const SharedRows& rows = kv.share_out(LastRow::prefill);
    std::optional<BlockTaps> both;
    if (taps != nullptr) both.emplace(std::array{rows.prefill, rows.decode}, *taps);
    const auto run = [&](backends::Session& session, const RowNumbers& own, backends::KvCache& of, std::size_t which) {
      if (own.empty()) return;
      const HostTensor input = taken(x, own);
      HostTensor result = input;
      session.run_part(part, input.view(), of, result.view(), both ? both->of(which) : nullptr);
      session.synchronize();
      put_rows(result, own, out);
    };
    run(*prefill_, rows.prefill, kv.prefill(), 0);
    run(*decode_, rows.decode, kv.decode(), 1);
    if (both) both->show("run_part");
  }

  [[nodiscard]] std::vector<WorkerTimes> take_times(bool with_events) override { return take_times_(with_events); }

  void synchronize() override {
    prefill_->synchronize();
    decode_->synchronize();
  }

 private:
  void require_call(Method method, const ConstTensorView& x, Index rows, std::span<const std::int32_t> positions,
                    const TensorView& out) const {
    const std::string_view doing = backends::name(method);
    const Index given = x.shape.size() == 3 ? x.shape[1] : 0;
    require_form(doing, "x", x, arithmetic().activations, {1, std::max(rows, given), config_.hidden_size});
    for (const std::int32_t position : positions) {
      if (position >= 0 && position < rows) continue;
      throw request_error("input.logit_position",
                          fmt::format("{}: logit position {}: must lie within 0..{}", doing, position, rows - 1));
    }
    const bool hidden = backends::returns_hidden(method);
    Shape shape = {1, given, hidden ? config_.hidden_size : config_.vocab_size};
    if (method == Method::prefill) shape[1] = 1;
    if (method == Method::batch_prefill) shape[1] = static_cast<Index>(positions.size());
    require_form(doing, "result", out, hidden ? arithmetic().activations : DType::f32, shape);
  }

  // The rows of a prompt's piece but its last. Their hidden rows, or the logits of those that are asked for.
  HostTensor prefill_rows(Method method, const ConstTensorView& x, const RowNumbers& rows, const RowNumbers& results,
                          backends::KvCache& cache, backends::TapSink* taps) {
    std::vector<std::int32_t> positions;
    if (!backends::returns_hidden(method)) {
      for (const Index row : results) {
        if (const Index place = place_of(rows, row); place >= 0) positions.push_back(static_cast<std::int32_t>(place));
      }
    }
    const auto count = static_cast<Index>(rows.size());
    const HostTensor own = taken(x, rows).reshaped({1, count, config_.hidden_size});
    const bool hidden = positions.empty();  // logits that nobody asks for are not computed
    HostTensor out = hidden ? HostTensor(own.dtype(), own.shape())
                            : HostTensor(DType::f32, {1, static_cast<Index>(positions.size()), config_.vocab_size});
    prefill_->forward(hidden ? Method::batch_prefill_to_last_hidden_states : Method::batch_prefill, own.view(),
                      positions, cache, out.view(), taps);
    prefill_->synchronize();
    return out;
  }

  // One row of each sequence.
  HostTensor decode_rows(Method method, const ConstTensorView& x, const RowNumbers& rows, DisaggregatedCache& kv,
                         backends::TapSink* taps) {
    const auto count = static_cast<Index>(rows.size());
    const bool hidden = backends::returns_hidden(method);
    const HostTensor own = taken(x, rows).reshaped({count, 1, config_.hidden_size});
    HostTensor out(hidden ? own.dtype() : DType::f32, {count, 1, hidden ? config_.hidden_size : config_.vocab_size});
    decode_->forward(hidden ? Method::batch_decode_to_last_hidden_states : Method::batch_decode, own.view(), {},
                     kv.decode(), out.view(), taps);
    decode_->synchronize();
    kv.keep_rows(own);
    return out;
  }

  // Of the prefill instance: every row's hidden values, or logits of those among `results`, in their order.
  void give(const RowNumbers& results, const SharedRows& rows, const HostTensor& prompt, const HostTensor& last,
            bool hidden, const TensorView& out) const {
    const std::size_t bytes = static_cast<std::size_t>(out.shape.back()) * size_bytes(out.dtype);
    std::byte* to = out.data;
    std::size_t next = 0;  // of the prefill instance's logits
    for (const Index row : results) {
      const Index at_decode = place_of(rows.decode, row);
      const HostTensor& from = at_decode >= 0 ? last : prompt;
      const auto place = at_decode >= 0 ? static_cast<std::size_t>(at_decode)
                         : hidden       ? static_cast<std::size_t>(place_of(rows.prefill, row))
                                        : next++;
      to = std::copy_n(from.bytes().data() + place * bytes, bytes, to);
    }
  }

  DisaggregatedCache& own(backends::KvCache& cache) const {
    if (auto* own = dynamic_cast<DisaggregatedCache*>(&cache); own != nullptr && own->is_of(*decode_)) return *own;
    throw request_error("kv.state", "the cache was made by another session: take one from create_paged_kv_cache");
  }

  ModelConfig config_;
  std::shared_ptr<backends::Session> prefill_, decode_;
  Index receiver_offset_;
  std::function<std::vector<WorkerTimes>(bool)> take_times_;
};

}  // namespace

std::unique_ptr<backends::Session> make_disaggregated_session(const ModelConfig& config, Instances both) {
  return std::make_unique<DisaggregatedSession>(config, std::move(both));
}

}  // namespace mlbench::parallel
