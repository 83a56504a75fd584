#include "backends/plugin/in_process.h"

#include <algorithm>
#include <cstring>
#include <exception>

#include <fmt/format.h>

#include "backends/plugin/c_group.h"
#include "backends/plugin/calls.h"
#include "backends/plugin/library.h"

namespace mlbench::plugin {
namespace {

using backends::Arithmetic;
using backends::DeviceInfo;
using backends::DeviceRates;
using backends::MemoryEstimate;
using backends::Method;
using backends::RunConfig;
using backends::Support;

constexpr std::size_t kNameBytes = 64;
constexpr std::size_t kTextBytes = 1024;

template <class Function, class... Args>
Support ask(std::string_view doing, Function function, Args... args) {
  mlbench_support support{};
  support.struct_size = sizeof support;
  support.ok = 1;
  call(doing, function, args..., &support);
  if (support.ok == 1) return {};
  if (support.ok != 0) throw backend_failed(fmt::format("{}: answered {}, neither 0 nor 1", doing, support.ok));
  const std::string reason = clean_text(support.reason, sizeof support.reason);
  return Support::no(reason.empty() ? "no reason is given" : reason);
}

std::string text_of(std::string_view doing, std::int32_t (*function)(char*, std::uint64_t, mlbench_error*)) {
  char text[kTextBytes] = {};
  call(doing, function, &text[0], std::uint64_t{kTextBytes});
  return clean_text(text, kTextBytes);
}

// ---- taps ----

// Stands between the library and our sink, whose exceptions may not pass through it.
class Sink {
 public:
  // Of `layers` of the model.
  Sink(backends::TapSink* to, LayerRange layers) : to_(to), layers_(layers) {}

  [[nodiscard]] const mlbench_tap_sink* get() const { return to_ == nullptr ? nullptr : &c_; }
  // Throws what went wrong in a call.
  void finish(std::string_view doing) const {
    if (thrown_) std::rethrow_exception(thrown_);
    if (!complaint_.empty()) throw backend_failed(fmt::format("{}: {}", doing, complaint_));
  }

 private:
  static std::int32_t wants(void* context, std::int32_t tap, std::int64_t layer) {
    const auto& sink = *static_cast<const Sink*>(context);
    const auto id = tap_of(tap, layer, sink.layers_);
    return id && sink.to_->wants(*id) ? 1 : 0;
  }

  static void take(void* context, std::int32_t tap, std::int64_t layer, const mlbench_const_tensor* value) {
    auto& sink = *static_cast<Sink*>(context);
    if (sink.thrown_ || !sink.complaint_.empty()) return;
    try {
      const auto id = tap_of(tap, layer, sink.layers_);
      if (!id || value == nullptr) {
        sink.complaint_ = fmt::format("gave tap {} of layer {}, which there is not", tap, layer);
      } else if (sink.to_->wants(*id)) {
        sink.to_->take(*id, view_of(*value));
      }
    } catch (...) {
      sink.thrown_ = std::current_exception();
    }
  }

  backends::TapSink* to_;
  LayerRange layers_;
  mlbench_tap_sink c_{this, wants, take};
  std::exception_ptr thrown_;
  std::string complaint_;
};

// ---- caches ----

class Cache final : public backends::KvCache {
 public:
  Cache(const mlbench_plugin& table, mlbench_session* session, mlbench_cache* cache)
      : table_(table), session_(session), cache_(cache) {}
  ~Cache() override { table_.destroy_cache(cache_); }
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  [[nodiscard]] mlbench_cache* get() const { return cache_; }
  [[nodiscard]] const mlbench_session* session() const { return session_; }

  void add_sequence(SeqId id) override { call("add_sequence", table_.add_sequence, cache_, id); }
  void remove_sequence(SeqId id) override { call("remove_sequence", table_.remove_sequence, cache_, id); }
  void fork_sequence(SeqId parent, SeqId child, Index pos) override {
    call("fork_sequence", table_.fork_sequence, cache_, parent, child, pos);
  }
  void popn(SeqId id, Index count) override { call("popn", table_.popn, cache_, id, count); }
  void enable_sliding_window_for_seq(SeqId id, Index window, Index sink) override {
    call("enable_sliding_window_for_seq", table_.enable_sliding_window, cache_, id, window, sink);
  }

  void begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                     const std::optional<std::vector<Index>>& tree_parents) override {
    static constexpr Index kNone = 0;  // an empty tree is another request than no tree
    const Index* parents = tree_parents ? (tree_parents->empty() ? &kNone : tree_parents->data()) : nullptr;
    call("begin_forward", table_.begin_forward, cache_, ids.data(), count_of(ids), lengths.data(), count_of(lengths),
         parents, tree_parents ? count_of(*tree_parents) : 0);
    rows_ = 0;
    for (const Index length : lengths) rows_ += length;
  }
  void end_forward() override {
    call("end_forward", table_.end_forward, cache_);
    rows_ = 0;
  }
  void commit_accepted_token_tree_nodes(std::span<const SeqId> ids, std::span<const Index> leaves) override {
    call("commit_accepted_token_tree_nodes", table_.commit_tree, cache_, ids.data(), count_of(ids), leaves.data(),
         count_of(leaves));
  }

  [[nodiscard]] std::vector<std::int32_t> get_query_positions() const override {
    std::vector<std::int32_t> positions(static_cast<std::size_t>(rows_));
    std::int64_t count = -1;
    call("get_query_positions", table_.get_query_positions, cache_, positions.data(), rows_, &count);
    if (count != rows_)
      throw backend_failed(fmt::format("get_query_positions: {} positions for {} rows", count, rows_));
    return positions;
  }

  void clear() override {
    call("clear", table_.clear, cache_);
    rows_ = 0;
  }
  [[nodiscard]] bool empty() const override {
    std::int32_t empty = -1;
    call("empty", table_.empty, cache_, &empty);
    if (empty != 0 && empty != 1) throw backend_failed(fmt::format("empty: answered {}, neither 0 nor 1", empty));
    return empty == 1;
  }
  [[nodiscard]] Index num_available_pages() const override {
    return number("num_available_pages", table_.num_available_pages, cache_);
  }
  [[nodiscard]] Index total_sequence_length() const override {
    return number("total_sequence_length", table_.total_sequence_length, cache_);
  }
  [[nodiscard]] Index sequence_length(SeqId id) const override {
    return number("sequence_length", table_.sequence_length, cache_, id);
  }

  void debug_get_kv(SeqId id, Index begin, Index end, const TensorView& keys, const TensorView& values) const override {
    const mlbench_tensor k = to_c(keys), v = to_c(values);
    call("debug_get_kv", table_.debug_get_kv, cache_, id, begin, end, &k, &v);
  }
  void debug_set_kv(SeqId id, Index begin, const ConstTensorView& keys, const ConstTensorView& values) override {
    const mlbench_const_tensor k = to_c(keys), v = to_c(values);
    call("debug_set_kv", table_.debug_set_kv, cache_, id, begin, &k, &v);
  }

 private:
  template <class List>
  static std::int64_t count_of(const List& list) {
    return static_cast<std::int64_t>(list.size());
  }
  template <class Function, class... Args>
  static Index number(std::string_view doing, Function function, Args... args) {
    std::int64_t out = -1;
    call(doing, function, args..., &out);
    if (out < 0) throw backend_failed(fmt::format("{}: answered {}", doing, out));
    return out;
  }

  const mlbench_plugin& table_;
  mlbench_session* session_;
  mlbench_cache* cache_;
  Index rows_ = 0;  // announced
};

// ---- sessions ----

class Session final : public backends::Session {
 public:
  Session(const mlbench_plugin& table, const Model& model, const RunConfig& run)
      : table_(table),
        layers_{run.first_layer, model.config.num_layers},
        shards_(run.tensor_parallel),
        weights_(model.weights),
        model_(model) {
    mlbench_run c = to_c(run);
    if (run.group != nullptr) c.group = group_.emplace(run.group).get();
    call("load", table_.load, model_.get(), &c, &session_);
    if (session_ == nullptr) throw backend_failed("load: made no session");
  }
  ~Session() override { table_.destroy_session(session_); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] Arithmetic arithmetic() const override {
    constexpr std::int32_t f32 = MLBENCH_F32;
    mlbench_arithmetic c{sizeof(mlbench_arithmetic), f32, f32, f32, f32, f32, f32, f32, 0, 1, 0, 1, 0};
    call("arithmetic", table_.arithmetic, session_, &c);
    return {.weights = dtype_of(c.weights, "arithmetic: weights"),
            .activations = dtype_of(c.activations, "arithmetic: activations"),
            .kv_cache = dtype_of(c.kv_cache, "arithmetic: kv_cache"),
            .logits = dtype_of(c.logits, "arithmetic: logits"),
            .product_inputs = dtype_of(c.product_inputs, "arithmetic: product_inputs"),
            .attention_inputs = dtype_of(c.attention_inputs, "arithmetic: attention_inputs"),
            .accumulation = dtype_of(c.accumulation, "arithmetic: accumulation"),
            .product_sums = summation_of(c.product_fused, c.product_truncates, "arithmetic: products"),
            .attention_sums = summation_of(c.attention_fused, c.attention_truncates, "arithmetic: attention"),
            .f32_rope_angles = c.f32_rope_angles != 0,
            .shards = shards_};
  }
  [[nodiscard]] Support gives(Tap tap) const override {
    if (static_cast<int>(tap) >= MLBENCH_NUM_TAPS && !group_) return Support::no("no tap of a model in one piece");
    return ask("gives", table_.gives, session_, static_cast<std::int32_t>(tap));
  }
  [[nodiscard]] Support isolates_layers() const override {
    return ask("isolates_layers", table_.isolates_layers, session_);
  }

  [[nodiscard]] std::unique_ptr<backends::KvCache> create_paged_kv_cache(const KvLimits& limits) override {
    const mlbench_kv_limits c = to_c(limits);
    mlbench_cache* cache = nullptr;
    call("create_paged_kv_cache", table_.create_cache, session_, &c, &cache);
    if (cache == nullptr) throw backend_failed("create_paged_kv_cache: made no cache");
    return std::make_unique<Cache>(table_, session_, cache);
  }

  void embed(std::span<const std::int32_t> ids, const TensorView& out) override {
    const mlbench_tensor result = to_c(out);
    call("embed", table_.embed, session_, ids.data(), static_cast<std::int64_t>(ids.size()), &result);
  }
  void get_logits(const ConstTensorView& hidden, const TensorView& out) override {
    const mlbench_const_tensor rows = to_c(hidden);
    const mlbench_tensor result = to_c(out);
    call("get_logits", table_.get_logits, session_, &rows, &result);
  }
  void batch_select_last_hidden_states(const ConstTensorView& hidden, std::span<const std::int32_t> positions,
                                       const TensorView& out) override {
    const mlbench_const_tensor rows = to_c(hidden);
    const mlbench_tensor result = to_c(out);
    call("batch_select_last_hidden_states", table_.batch_select_last_hidden_states, session_, &rows, positions.data(),
         static_cast<std::int64_t>(positions.size()), &result);
  }

  void forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> logit_positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    const mlbench_const_tensor rows = to_c(x);
    const mlbench_tensor result = to_c(out);
    Sink sink(taps, layers_);
    meeting([&] {
      call(backends::name(method), table_.forward, session_, static_cast<std::int32_t>(method), &rows,
           logit_positions.data(), static_cast<std::int64_t>(logit_positions.size()), own(cache), &result, sink.get());
    });
    sink.finish(backends::name(method));
  }
  void run_part(const backends::Part& part, const ConstTensorView& x, backends::KvCache& cache, const TensorView& out,
                backends::TapSink* taps) override {
    const mlbench_const_tensor rows = to_c(x);
    const mlbench_tensor result = to_c(out);
    Sink sink(taps, layers_);
    meeting([&] {
      call("run_part", table_.run_part, session_, static_cast<std::int32_t>(part.kind), part.layer, &rows, own(cache),
           &result, sink.get());
    });
    sink.finish("run_part");
  }
  void synchronize() override {
    if (table_.synchronize != nullptr) call("synchronize", table_.synchronize, session_);
  }

 private:
  // What the group threw counts, whatever the library made of it.
  template <class Call>
  void meeting(Call call) const {
    try {
      call();
    } catch (const Error&) {
      if (group_) group_->rethrow();
      throw;
    }
  }

  [[nodiscard]] mlbench_cache* own(backends::KvCache& cache) const {
    const auto* own = dynamic_cast<Cache*>(&cache);
    if (own != nullptr && own->session() == session_) return own->get();
    throw request_error("kv.state", "the cache was made by another session: take one from create_paged_kv_cache");
  }

  const mlbench_plugin& table_;
  LayerRange layers_;
  Index shards_;
  std::shared_ptr<const Weights> weights_;
  CModel model_;                 // which the library may keep pointers to, and
  std::optional<CGroup> group_;  // of a part
  mlbench_session* session_ = nullptr;
};

// ---- the backend ----

class InProcessBackend final : public backends::Backend {
 public:
  explicit InProcessBackend(const mlbench_plugin& table) : table_(table), name_(clean_text(table.name, kNameBytes)) {}

  [[nodiscard]] std::string_view name() const override { return name_; }
  [[nodiscard]] std::string version() const override { return text_of("version", table_.version); }
  [[nodiscard]] std::string why_none() const override {
    const std::string why = text_of("why_none", table_.why_none);
    return why.empty() ? "no device, and no reason is given" : why;
  }

  [[nodiscard]] std::vector<DeviceInfo> devices() const override {
    constexpr std::uint64_t kMost = 4096;
    std::vector<mlbench_device> found(64);
    std::uint64_t count = 0;
    for (int attempt = 0; attempt < 2; ++attempt) {
      call("devices", table_.devices, found.data(), std::uint64_t{found.size()}, &count);
      if (count > kMost) throw backend_failed(fmt::format("devices: {} of them", count));
      if (count <= found.size()) break;
      found.assign(static_cast<std::size_t>(count), {});
    }
    found.resize(static_cast<std::size_t>(std::min<std::uint64_t>(count, found.size())));
    std::vector<DeviceInfo> out;
    for (const mlbench_device& device : found) {
      out.push_back({clean_text(device.id, sizeof device.id), clean_text(device.description, sizeof device.description),
                     device.memory_bytes});
    }
    return out;
  }

  [[nodiscard]] Support supports(const ModelConfig& config, const RunConfig& run) const override {
    if (run.disaggregated) return Support::no("prefill and decode apart: a library's caches do not send their entries");
    const CConfig c(config);
    const mlbench_run how = to_c(run);
    return ask("supports", table_.supports, c.get(), &how);
  }

  [[nodiscard]] MemoryEstimate memory(const ModelConfig& config, const RunConfig& run,
                                      const KvLimits& limits) const override {
    const CConfig c(config);
    const mlbench_run how = to_c(run);
    const mlbench_kv_limits cache = to_c(limits);
    mlbench_memory memory{};
    memory.struct_size = sizeof memory;
    call("memory", table_.memory, c.get(), &how, &cache, &memory);
    constexpr auto bounded = [](std::uint64_t bytes) { return std::min(bytes, std::uint64_t{1} << 60U); };
    return {bounded(memory.weights_bytes), bounded(memory.cache_bytes), bounded(memory.scratch_bytes)};
  }

  [[nodiscard]] std::unique_ptr<backends::Session> load(const Model& model, const RunConfig& run) override {
    if (const Support support = supports(model.config, run); !support)
      throw request_error("config.unsupported", support.reason);
    return std::make_unique<Session>(table_, model, run);
  }

  [[nodiscard]] std::optional<DeviceRates> measure_rates(const RunConfig& run, double seconds) override {
    if (!has_measure_rates(table_)) return std::nullopt;
    const mlbench_run how = to_c(run);
    mlbench_rates rates{sizeof(mlbench_rates), 0, 0.0, 0.0};
    call("measure_rates", table_.measure_rates, &how, seconds, &rates);
    return rates_of(rates.read_bytes_per_second, rates.flops_per_second);
  }

 private:
  const mlbench_plugin& table_;
  std::string name_;
};

}  // namespace

std::unique_ptr<backends::Backend> make_in_process_backend(const mlbench_plugin* table) {
  return std::make_unique<InProcessBackend>(*table);
}

}  // namespace mlbench::plugin
