#include "backends/plugin/remote_session.h"

#include <cstring>

#include <fmt/format.h>

#include "backends/plugin/convert.h"

namespace mlbench::plugin {
namespace {

using backends::Arithmetic;
using backends::Method;
using backends::Support;

// A tap of a model of so many layers, or of its workers.
std::optional<TapId> known_tap(int tap, Index layer, Index num_layers) {
  if (tap < 0 || tap >= kNumTaps) return std::nullopt;
  const TapId id{static_cast<Tap>(tap), layer};
  const bool fits = per_layer(id.tap) ? layer >= 0 && layer < num_layers : layer == -1;
  return fits ? std::optional(id) : std::nullopt;
}

void copy_result(Reader& answer, const TensorView& out) {
  if (out.data == nullptr) return;  // nobody wants it
  const auto bytes = answer.take(*bytes_of(out.dtype, out.shape));
  if (!bytes.empty()) std::memcpy(out.data, bytes.data(), bytes.size());
}

// A result's form, before any process is asked for it.
void put_form(Writer& to, const TensorView& out) {
  if (!bytes_of(out.dtype, out.shape))
    throw request_error("input.shape", fmt::format("a result of shape {}", to_string(out.shape)));
  to.form(out.dtype, out.shape);
}

class RemoteCache final : public backends::KvCache {
 public:
  RemoteCache(std::shared_ptr<Caller> caller, std::uint32_t id) : caller_(std::move(caller)), id_(id) {}
  ~RemoteCache() override {
    if (!caller_->alive()) return;
    try {
      (void)caller_->ask("destroy_cache", Op::destroy_cache, request());
    } catch (const std::exception&) {  // the next call will tell
    }
  }
  RemoteCache(const RemoteCache&) = delete;
  RemoteCache& operator=(const RemoteCache&) = delete;

  [[nodiscard]] std::uint32_t id() const { return id_; }
  [[nodiscard]] const Caller* caller() const { return caller_.get(); }

  void add_sequence(SeqId id) override { change("add_sequence", Op::add_sequence, id); }
  void remove_sequence(SeqId id) override { change("remove_sequence", Op::remove_sequence, id); }
  void fork_sequence(SeqId parent, SeqId child, Index pos) override {
    change("fork_sequence", Op::fork_sequence, parent, child, pos);
  }
  void popn(SeqId id, Index count) override { change("popn", Op::popn, id, count); }
  void enable_sliding_window_for_seq(SeqId id, Index window, Index sink) override {
    change("enable_sliding_window_for_seq", Op::enable_sliding_window, id, window, sink);
  }

  void begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                     const std::optional<std::vector<Index>>& tree_parents) override {
    Writer message = request();
    message.list(ids);
    message.list(lengths);
    message.number<unsigned char>(tree_parents ? 1 : 0);
    if (tree_parents) message.list(std::span<const Index>(*tree_parents));
    ask_nothing("begin_forward", Op::begin_forward, message);
    rows_ = 0;
    for (const Index length : lengths) rows_ += static_cast<std::size_t>(length);
  }
  void end_forward() override {
    ask_nothing("end_forward", Op::end_forward, request());
    rows_ = 0;
  }
  void commit_accepted_token_tree_nodes(std::span<const SeqId> ids, std::span<const Index> leaves) override {
    Writer message = request();
    message.list(ids);
    message.list(leaves);
    ask_nothing("commit_accepted_token_tree_nodes", Op::commit_tree, message);
  }

  [[nodiscard]] std::vector<std::int32_t> get_query_positions() const override {
    const char* doing = "get_query_positions";
    std::vector<std::int32_t> positions;
    caller_->read(doing, caller_->ask(doing, Op::get_query_positions, request()), [&](Reader& answer) {
      positions = answer.list<std::int32_t>();
      if (positions.size() != rows_) throw Malformed(fmt::format("{} positions for {} rows", positions.size(), rows_));
    });
    return positions;
  }

  void clear() override {
    ask_nothing("clear", Op::clear, request());
    rows_ = 0;
  }
  [[nodiscard]] bool empty() const override { return number("empty", Op::empty, request()) != 0; }
  [[nodiscard]] Index num_available_pages() const override {
    return number("num_available_pages", Op::num_available_pages, request());
  }
  [[nodiscard]] Index total_sequence_length() const override {
    return number("total_sequence_length", Op::total_sequence_length, request());
  }
  [[nodiscard]] Index sequence_length(SeqId id) const override {
    Writer message = request();
    message.number(id);
    return number("sequence_length", Op::sequence_length, message);
  }

  void debug_get_kv(SeqId id, Index begin, Index end, const TensorView& keys, const TensorView& values) const override {
    const char* doing = "debug_get_kv";
    Writer message = entries(id, begin, end);
    put_form(message, keys);
    put_form(message, values);
    caller_->read(doing, caller_->ask(doing, Op::debug_get_kv, message), [&](Reader& answer) {
      copy_result(answer, keys);
      copy_result(answer, values);
    });
  }
  void debug_set_kv(SeqId id, Index begin, const ConstTensorView& keys, const ConstTensorView& values) override {
    Writer message = entries(id, begin, begin);
    message.tensor(keys);
    message.tensor(values);
    ask_nothing("debug_set_kv", Op::debug_set_kv, message);
  }

  // Its transport stands where it does.
  SlotRuns disagg_prepare_recv(SeqId id, Index count) override {
    const char* doing = "disagg_prepare_recv";
    SlotRuns slots;
    caller_->read(doing, caller_->ask(doing, Op::prepare_recv, entries(id, count, 0)), [&](Reader& answer) {
      const auto list = answer.list<Index>();
      try {
        slots = SlotRuns::decoded(list);
      } catch (const Error& error) {
        throw Malformed(error.message());
      }
      if (slots.size() != count) throw Malformed(fmt::format("{} slots for {} entries", slots.size(), count));
    });
    return slots;
  }
  void disagg_mark_send(SeqId id, Index begin, const SlotRuns& slots, Index receiver_offset) override {
    Writer message = entries(id, begin, receiver_offset);
    message.list(std::span<const Index>(slots.encoded()));
    ask_nothing("disagg_mark_send", Op::mark_send, message);
  }

 private:
  [[nodiscard]] Writer request() const {
    Writer message;
    message.number(id_);
    return message;
  }
  [[nodiscard]] Writer entries(SeqId id, Index begin, Index end) const {
    Writer message = request();
    for (const Index number : {id, begin, end}) message.number(number);
    return message;
  }
  void ask_nothing(std::string_view doing, Op op, const Writer& message) const {
    caller_->ask_nothing(doing, op, message);
  }
  void change(std::string_view doing, Op op, SeqId id, Index a = 0, Index b = 0) {
    ask_nothing(doing, op, entries(id, a, b));
  }
  [[nodiscard]] Index number(std::string_view doing, Op op, const Writer& message) const {
    Index out = 0;
    caller_->read(doing, caller_->ask(doing, op, message), [&](Reader& answer) { out = answer.number<Index>(); });
    return out;
  }

  std::shared_ptr<Caller> caller_;
  std::uint32_t id_;
  std::size_t rows_ = 0;  // announced
};

class RemoteSession final : public backends::Session {
 public:
  RemoteSession(std::shared_ptr<Caller> caller, Index num_layers, Reader& answer)
      : caller_(std::move(caller)),
        num_layers_(num_layers),
        id_(answer.number<std::uint32_t>()),
        arithmetic_(get<Arithmetic>(answer)),
        isolates_(get<Support>(answer)) {
    for (int tap = 0; tap < kNumTaps; ++tap) gives_.push_back(get<Support>(answer));
  }

  ~RemoteSession() override {
    if (!caller_->alive()) return;
    try {
      caller_->ask_nothing("unload", Op::unload, request());
    } catch (const std::exception&) {  // the next call will tell
    }
  }
  RemoteSession(const RemoteSession&) = delete;
  RemoteSession& operator=(const RemoteSession&) = delete;

  [[nodiscard]] Arithmetic arithmetic() const override { return arithmetic_; }
  [[nodiscard]] Support gives(Tap tap) const override { return gives_[static_cast<std::size_t>(tap)]; }
  [[nodiscard]] Support isolates_layers() const override { return isolates_; }

  [[nodiscard]] std::unique_ptr<backends::KvCache> create_paged_kv_cache(const KvLimits& limits) override {
    const char* doing = "create_paged_kv_cache";
    Writer message = request();
    put(message, limits);
    std::uint32_t id = 0;
    caller_->read(doing, caller_->ask(doing, Op::create_cache, message),
                  [&](Reader& answer) { id = answer.number<std::uint32_t>(); });
    return std::make_unique<RemoteCache>(caller_, id);
  }

  void embed(std::span<const std::int32_t> ids, const TensorView& out) override {
    Writer message = request();
    put_form(message, out);
    message.list(ids);
    ask_result("embed", Op::embed, message, out);
  }
  void get_logits(const ConstTensorView& hidden, const TensorView& out) override {
    Writer message = request();
    put_form(message, out);
    message.tensor(hidden);
    ask_result("get_logits", Op::get_logits, message, out);
  }
  void batch_select_last_hidden_states(const ConstTensorView& hidden, std::span<const std::int32_t> positions,
                                       const TensorView& out) override {
    Writer message = request();
    put_form(message, out);
    message.list(positions);
    message.tensor(hidden);
    ask_result("batch_select_last_hidden_states", Op::batch_select, message, out);
  }

  void forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> logit_positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    run_rows(backends::name(method), Op::forward, static_cast<std::int32_t>(method), -1, x, logit_positions, cache, out,
             taps);
  }
  void run_part(const backends::Part& part, const ConstTensorView& x, backends::KvCache& cache, const TensorView& out,
                backends::TapSink* taps) override {
    run_rows("run_part", Op::run_part, static_cast<std::int32_t>(part.kind), part.layer, x, {}, cache, out, taps);
  }
  void synchronize() override { caller_->ask_nothing("synchronize", Op::synchronize, request()); }

 private:
  [[nodiscard]] Writer request() const {
    Writer message;
    message.number(id_);
    return message;
  }
  void ask_result(std::string_view doing, Op op, const Writer& message, const TensorView& out,
                  const Caller::OnTap& on_tap = nullptr) {
    caller_->read(doing, caller_->ask(doing, op, message, on_tap), [&](Reader& answer) { copy_result(answer, out); });
  }

  void run_rows(std::string_view doing, Op op, std::int32_t which, Index layer, const ConstTensorView& x,
                std::span<const std::int32_t> positions, backends::KvCache& cache, const TensorView& out,
                backends::TapSink* taps) {
    Writer message;
    message.number(which);
    message.number(layer);
    message.number(own(cache).id());
    put_form(message, out);
    message.number<unsigned char>(out.data != nullptr ? 1 : 0);
    message.list(positions);
    message.list(std::span<const unsigned char>(wanted(taps)));
    message.number<unsigned char>(x.data != nullptr ? 1 : 0);
    if (x.data != nullptr) {
      message.tensor(x);
    } else {
      message.form(x.dtype, x.shape);
    }
    const Caller::OnTap on_tap = [&](Reader& reader) { take(reader, *taps); };
    ask_result(doing, op, message, out, taps == nullptr ? nullptr : on_tap);
  }

  // For every tap, whether it is wanted outside of the layers and in each layer.
  [[nodiscard]] std::vector<unsigned char> wanted(const backends::TapSink* taps) const {
    std::vector<unsigned char> out;
    for (int tap = 0; tap < kNumTaps && taps != nullptr; ++tap) {
      for (Index layer = -1; layer < num_layers_; ++layer) {
        const auto id = known_tap(tap, layer, num_layers_);
        out.push_back(id && taps->wants(*id) ? 1 : 0);
      }
    }
    return out;
  }

  void take(Reader& message, backends::TapSink& taps) const {
    const auto tap = message.number<std::int32_t>();
    const auto layer = message.number<Index>();
    const auto id = known_tap(tap, layer, num_layers_);
    if (!id || !taps.wants(*id)) throw Malformed(fmt::format("tap {} of layer {} was not asked for", tap, layer));
    const ConstTensorView value = message.tensor();
    message.end();
    taps.take(*id, value);
  }

  [[nodiscard]] const RemoteCache& own(const backends::KvCache& cache) const {
    const auto* own = dynamic_cast<const RemoteCache*>(&cache);
    if (own != nullptr && own->caller() == caller_.get()) return *own;
    throw request_error("kv.state", "the cache was made by another session: take one from create_paged_kv_cache");
  }

  std::shared_ptr<Caller> caller_;
  Index num_layers_;
  std::uint32_t id_;
  Arithmetic arithmetic_;
  Support isolates_;
  std::vector<Support> gives_;
};

}  // namespace

std::unique_ptr<backends::Session> make_remote_session(std::shared_ptr<Caller> caller, const ModelConfig& config,
                                                       Reader& answer) {
  return std::make_unique<RemoteSession>(std::move(caller), config.num_layers, answer);
}

}  // namespace mlbench::plugin
