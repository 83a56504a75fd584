#include "backends/gpu/session.h"

#include <cstring>

#include "backends/stack/memory.h"

namespace mlbench::gpu {
namespace {

constexpr std::size_t kMostGraphs = 64;

std::uint64_t float_bytes(Index count) { return static_cast<std::uint64_t>(count) * sizeof(float); }

}  // namespace

backends::Arithmetic arithmetic_of(const ModelConfig& config, DType dtype, Runtime& runtime) {
  const bool by_tiles = runtime.kernels().rounds_attention_inputs(dtype, config.head_dim);
  return {.weights = dtype,
          .kv_cache = dtype,
          .product_inputs = dtype,
          .attention_inputs = by_tiles ? dtype : DType::f32,
          .product_sums = runtime.product_sums(dtype),
          .attention_sums = by_tiles ? runtime.product_sums(dtype) : backends::Summation{}};
}

Session::Session(const std::string& backend, std::unique_ptr<Runtime> runtime, const Model& model,
                 const backends::RunConfig& run)
    : stack::Session(backend, model.config, run),
      runtime_(std::move(runtime)),
      stream_(runtime_->make_stream()),
      shards_(run.tensor_parallel),
      decoder_(*runtime_, *stream_, model, run) {}

backends::Arithmetic Session::arithmetic() const {
  backends::Arithmetic out = arithmetic_of(config(), dtype(), *runtime_);
  out.shards = shards_;
  return out;
}

std::unique_ptr<stack::PagedCache> Session::make_cache(const KvLimits& limits) {
  require_free(*runtime_, stack::cache_bytes(config(), dtype(), limits), "the cache's pages");
  graphs_.clear();  // the new cache may stand where an old one did
  return std::make_unique<DeviceCache>(*runtime_, *stream_, stack::kv_shape(config(), dtype()), limits);
}

// All caches of a session's shape are its own.
void Session::begin(stack::PagedCache& cache) {
  auto& own = dynamic_cast<DeviceCache&>(cache);
  decoder_.begin(own);
  cache_ = &own;
  has_plan_ = true;
}

void Session::set_rows(const std::byte* x, Index count) {
  count_ = count;
  const std::uint64_t bytes = float_bytes(count * config().hidden_size);
  void* input = decoder_.growing().reserve(input_, bytes, "rows of the caller");
  (void)decoder_.rows(count);
  if (bytes > 0) std::memcpy(input, x, bytes);
  has_input_ = true;
}

void Session::copy_inputs() {
  if (std::exchange(has_plan_, false)) decoder_.copy_plan();
  if (!std::exchange(has_input_, false)) return;
  runtime_->copy_in(*stream_, decoder_.rows(count_), input_.data(), float_bytes(count_ * config().hidden_size));
}

void Session::copy_out(std::byte* to, const float* from, Index count) {
  const std::uint64_t bytes = float_bytes(count);
  void* output = decoder_.growing().reserve(output_, bytes, "results");
  runtime_->copy_out(*stream_, output, from, bytes);
  stream_->synchronize();
  if (bytes > 0) std::memcpy(to, output, bytes);
}

void Session::get_rows(std::byte* out, Index count) {
  copy_inputs();
  decoder_.settle();
  copy_out(out, decoder_.rows(count), count * config().hidden_size);
}

void Session::enter(backends::TapSink* sink) {
  copy_inputs();
  Taps taps(sink, *runtime_, *stream_);
  decoder_.enter(taps);
}

void Session::layer(Index index, backends::TapSink* sink) {
  copy_inputs();
  Taps taps(sink, *runtime_, *stream_);
  decoder_.layer(index, taps);
}

void Session::final_norm(backends::TapSink* sink) {
  copy_inputs();
  Taps taps(sink, *runtime_, *stream_);
  decoder_.final_norm(taps);
}

// Of single rows the work is many small kernels: queued as one.
void Session::run_stack(backends::TapSink* taps) {
  if (taps != nullptr || decoder_.plan().tiled() || !decoder_.can_be_recorded()) return stack::Session::run_stack(taps);
  std::vector<Index> key = decoder_.shape();
  key.push_back(static_cast<Index>(reinterpret_cast<std::uintptr_t>(cache_->view().data)));
  const bool moved = decoder_.growing().generation() != graphs_generation_;
  if (moved || (graphs_.size() >= kMostGraphs && !graphs_.contains(key))) graphs_.clear();
  graphs_generation_ = decoder_.growing().generation();
  // What loads kernels and chooses algorithms, as the first run of its kind does, cannot be recorded.
  const auto [found, is_new] = graphs_.try_emplace(key);
  if (is_new) return stack::Session::run_stack(nullptr);
  std::unique_ptr<Graph>& graph = found->second;
  if (graph == nullptr) {
    graph = runtime_->record(*stream_, [this] {
      has_plan_ = has_input_ = true;
      stack::Session::run_stack(nullptr);
      decoder_.settle();  // a replay leaves nothing to do, also where no final norm follows
    });
  }
  has_plan_ = has_input_ = false;
  graph->launch(*stream_);
}

void Session::write_logits(const stack::RowChoice& rows, std::byte* out, backends::TapSink* sink) {
  if (rows.count == 0) return stream_->synchronize();  // what was copied from may be written again
  copy_inputs();
  Taps taps(sink, *runtime_, *stream_);
  const std::int32_t* chosen = nullptr;
  if (!rows.chosen.empty()) {
    void* device = decoder_.growing().reserve(choice_, rows.chosen.size_bytes(), "rows for logits");
    runtime_->copy_in(*stream_, device, rows.chosen.data(), rows.chosen.size_bytes());
    chosen = static_cast<const std::int32_t*>(device);
  }
  copy_out(out, decoder_.logits(rows.first, rows.count, chosen, taps), rows.count * config().vocab_size);
}

}  // namespace mlbench::gpu
