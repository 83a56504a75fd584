#include "backends/plugin/child_backend.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include <fmt/format.h>

#include "backends/plugin/convert.h"
#include "models/tensor_inventory.h"

namespace mlbench::plugin {
namespace {

using backends::Arithmetic;
using backends::DeviceRates;
using backends::MemoryEstimate;
using backends::Method;
using backends::RunConfig;
using backends::Support;

void copy_result(Reader& answer, const TensorView& out) {
  const auto bytes = answer.take(*bytes_of(out.dtype, out.shape));
  if (!bytes.empty()) std::memcpy(out.data, bytes.data(), bytes.size());
}

// A result's form, before any process is asked for it.
void put_form(Writer& to, const TensorView& out) {
  if (!bytes_of(out.dtype, out.shape))
    throw request_error("input.shape", fmt::format("a result of shape {}", to_string(out.shape)));
  to.form(out.dtype, out.shape);
}

// ---- weights ----

// Lays a model's weights out one behind the other; a matrix that two names share stands once.
class WeightsFile {
 public:
  explicit WeightsFile(int fd) : fd_(fd) {}

  // Where the tensor stands, in bytes.
  std::uint64_t add(const WeightView& view) {
    const auto [known, fresh] = places_.emplace(std::pair(view.data, view.size()), end_);
    if (fresh) {
      const std::size_t bytes = static_cast<std::size_t>(view.size()) * size_bytes(view.dtype);
      write(view.data, bytes, end_);
      constexpr std::uint64_t kAlignment = 64;
      end_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    }
    return known->second;
  }

  // Makes it as long as it is.
  [[nodiscard]] std::uint64_t finish() const {
    if (::ftruncate(fd_, static_cast<off_t>(end_)) != 0) throw no_room();
    return end_;
  }

 private:
  static Error no_room() {
    return Error(ErrorKind::internal, "memory.exceeded",
                 fmt::format("load: the copy of the weights for the plug-in's process: {}", std::strerror(errno)));
  }

  void write(const std::byte* from, std::size_t size, std::uint64_t at) const {
    while (size > 0) {
      const ssize_t count = ::pwrite(fd_, from, size, static_cast<off_t>(at));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) throw no_room();
      from += count;
      at += static_cast<std::uint64_t>(count);
      size -= static_cast<std::size_t>(count);
    }
  }

  int fd_;
  std::uint64_t end_ = 0;
  std::map<std::pair<const std::byte*, Index>, std::uint64_t> places_;
};

// ---- caches ----

class ChildCache final : public backends::KvCache {
 public:
  ChildCache(std::shared_ptr<Process> process, std::uint32_t id) : process_(std::move(process)), id_(id) {}
  ~ChildCache() override {
    if (!process_->alive()) return;
    try {
      (void)process_->ask("destroy_cache", Op::destroy_cache, request());
    } catch (const std::exception&) {  // the next call will tell
    }
  }
  ChildCache(const ChildCache&) = delete;
  ChildCache& operator=(const ChildCache&) = delete;

  [[nodiscard]] std::uint32_t id() const { return id_; }
  [[nodiscard]] const Process* process() const { return process_.get(); }

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
    process_->read(doing, process_->ask(doing, Op::get_query_positions, request()), [&](Reader& answer) {
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
    process_->read(doing, process_->ask(doing, Op::debug_get_kv, message), [&](Reader& answer) {
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
    process_->read(doing, process_->ask(doing, op, message), [](Reader&) {});
  }
  void change(std::string_view doing, Op op, SeqId id, Index a = 0, Index b = 0) {
    ask_nothing(doing, op, entries(id, a, b));
  }
  [[nodiscard]] Index number(std::string_view doing, Op op, const Writer& message) const {
    Index out = 0;
    process_->read(doing, process_->ask(doing, op, message), [&](Reader& answer) { out = answer.number<Index>(); });
    return out;
  }

  std::shared_ptr<Process> process_;
  std::uint32_t id_;
  std::size_t rows_ = 0;  // announced
};

// ---- sessions ----

class ChildSession final : public backends::Session {
 public:
  ChildSession(std::shared_ptr<Process> process, const Model& model, const RunConfig& run)
      : process_(std::move(process)), num_layers_(model.config.num_layers) {
    WeightsFile file(process_->weights_fd());
    Writer tensors;
    for (const NamedTensor& tensor : tensors_of(model.config)) {
      const WeightView& view = model.weights->get(tensor.name);
      tensors.number(view.dtype);
      tensors.number(file.add(view));
    }
    Writer message;
    put(message, model.config);
    put(message, run);
    message.text(model.origin);
    message.number(file.finish());
    for (const auto& piece : tensors.pieces()) message.borrow(piece);
    process_->read("load", process_->ask("load", Op::load, message), [this](Reader& answer) {
      arithmetic_ = get<Arithmetic>(answer);
      isolates_ = get<Support>(answer);
      for (int tap = 0; tap < MLBENCH_NUM_TAPS; ++tap) gives_.push_back(get<Support>(answer));
    });
  }

  [[nodiscard]] Arithmetic arithmetic() const override { return arithmetic_; }
  [[nodiscard]] Support gives(Tap tap) const override { return gives_[static_cast<std::size_t>(tap)]; }
  [[nodiscard]] Support isolates_layers() const override { return isolates_; }

  [[nodiscard]] std::unique_ptr<backends::KvCache> create_paged_kv_cache(const KvLimits& limits) override {
    const char* doing = "create_paged_kv_cache";
    Writer message;
    put(message, limits);
    std::uint32_t id = 0;
    process_->read(doing, process_->ask(doing, Op::create_cache, message),
                   [&](Reader& answer) { id = answer.number<std::uint32_t>(); });
    return std::make_unique<ChildCache>(process_, id);
  }

  void embed(std::span<const std::int32_t> ids, const TensorView& out) override {
    Writer message;
    put_form(message, out);
    message.list(ids);
    ask_result("embed", Op::embed, message, out);
  }
  void get_logits(const ConstTensorView& hidden, const TensorView& out) override {
    Writer message;
    put_form(message, out);
    message.tensor(hidden);
    ask_result("get_logits", Op::get_logits, message, out);
  }
  void batch_select_last_hidden_states(const ConstTensorView& hidden, std::span<const std::int32_t> positions,
                                       const TensorView& out) override {
    Writer message;
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
  void synchronize() override {
    process_->read("synchronize", process_->ask("synchronize", Op::synchronize, {}), [](Reader&) {});
  }

 private:
  void ask_result(std::string_view doing, Op op, const Writer& message, const TensorView& out,
                  const Process::OnTap& on_tap = nullptr) {
    process_->read(doing, process_->ask(doing, op, message, on_tap), [&](Reader& answer) { copy_result(answer, out); });
  }

  void run_rows(std::string_view doing, Op op, std::int32_t which, Index layer, const ConstTensorView& x,
                std::span<const std::int32_t> positions, backends::KvCache& cache, const TensorView& out,
                backends::TapSink* taps) {
    Writer message;
    message.number(which);
    message.number(layer);
    message.number(own(cache).id());
    put_form(message, out);
    message.list(positions);
    message.list(std::span<const unsigned char>(wanted(taps)));
    message.tensor(x);
    const Process::OnTap on_tap = [&](Reader& reader) { take(reader, *taps); };
    ask_result(doing, op, message, out, taps == nullptr ? nullptr : on_tap);
  }

  // For every tap, whether it is wanted outside of the layers and in each layer.
  [[nodiscard]] std::vector<unsigned char> wanted(const backends::TapSink* taps) const {
    std::vector<unsigned char> out;
    for (int tap = 0; tap < MLBENCH_NUM_TAPS && taps != nullptr; ++tap) {
      for (Index layer = -1; layer < num_layers_; ++layer) {
        const auto id = tap_of(tap, layer, num_layers_);
        out.push_back(id && taps->wants(*id) ? 1 : 0);
      }
    }
    return out;
  }

  void take(Reader& message, backends::TapSink& taps) const {
    const auto tap = message.number<std::int32_t>();
    const auto layer = message.number<Index>();
    const auto id = tap_of(tap, layer, num_layers_);
    if (!id || !taps.wants(*id)) throw Malformed(fmt::format("tap {} of layer {} was not asked for", tap, layer));
    const ConstTensorView value = message.tensor();
    message.end();
    taps.take(*id, value);
  }

  [[nodiscard]] const ChildCache& own(const backends::KvCache& cache) const {
    const auto* own = dynamic_cast<const ChildCache*>(&cache);
    if (own != nullptr && own->process() == process_.get()) return *own;
    throw request_error("kv.state", "the cache was made by another session: take one from create_paged_kv_cache");
  }

  std::shared_ptr<Process> process_;
  Index num_layers_;
  Arithmetic arithmetic_;
  Support isolates_;
  std::vector<Support> gives_;
};

// ---- the backend ----

class ChildBackend final : public backends::Backend {
 public:
  ChildBackend(std::string library, ProcessOptions options)
      : library_(std::move(library)), options_(std::move(options)), description_(process().description()) {}

  [[nodiscard]] std::string_view name() const override { return description_.name; }
  [[nodiscard]] std::string version() const override { return description_.version; }
  [[nodiscard]] std::vector<backends::DeviceInfo> devices() const override { return description_.devices; }
  [[nodiscard]] std::string why_none() const override { return description_.why_none; }

  [[nodiscard]] Support supports(const ModelConfig& config, const RunConfig& run) const override {
    return ask<Support>("supports", Op::supports, question(config, run));
  }
  [[nodiscard]] MemoryEstimate memory(const ModelConfig& config, const RunConfig& run,
                                      const KvLimits& limits) const override {
    Writer message = question(config, run);
    put(message, limits);
    auto estimate = ask<MemoryEstimate>("memory", Op::memory, message);
    const double copy = static_cast<double>(parameter_count(config)) * static_cast<double>(size_bytes(run.dtype));
    estimate.weights_bytes += static_cast<std::uint64_t>(std::min(copy, 0x1p60));
    // The largest result, of all rows' logits, stands in the plug-in's process and in shared memory.
    const double result = static_cast<double>(limits.prefill_chunk_size) * static_cast<double>(config.vocab_size) * 4.0;
    estimate.scratch_bytes += static_cast<std::uint64_t>(std::min(2.0 * result, 0x1p60));
    return estimate;
  }
  [[nodiscard]] std::unique_ptr<backends::Session> load(const Model& model, const RunConfig& run) override {
    (void)process();
    return std::make_unique<ChildSession>(std::move(idle_), model, run);
  }
  [[nodiscard]] std::optional<DeviceRates> measure_rates(const RunConfig& run, double seconds) override {
    const char* doing = "measure_rates";
    Writer message;
    put(message, run);
    message.number(seconds);
    std::optional<DeviceRates> rates;
    Process& asked = process();
    asked.read(doing, asked.ask(doing, Op::measure_rates, message, nullptr, seconds), [&](Reader& answer) {
      const auto read = answer.number<double>();
      rates = rates_of(read, answer.number<double>());
    });
    return rates;
  }

 private:
  Process& process() const {
    if (idle_ == nullptr || !idle_->alive()) {
      idle_.reset();
      idle_ = std::make_shared<Process>(library_, options_);
    }
    return *idle_;
  }
  static Writer question(const ModelConfig& config, const RunConfig& run) {
    Writer message;
    put(message, config);
    put(message, run);
    return message;
  }
  template <class Answer>
  Answer ask(std::string_view doing, Op op, const Writer& message) const {
    Answer out{};
    Process& asked = process();
    asked.read(doing, asked.ask(doing, op, message), [&](Reader& answer) { out = get<Answer>(answer); });
    return out;
  }

  std::string library_;
  ProcessOptions options_;
  mutable std::shared_ptr<Process> idle_;  // without a session
  Description description_;
};

}  // namespace

std::unique_ptr<backends::Backend> make_child_backend(const std::string& library, const ProcessOptions& options) {
  return std::make_unique<ChildBackend>(library, options);
}

}  // namespace mlbench::plugin
