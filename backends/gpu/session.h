// A model loaded on a device.
#pragma once

#include <map>
#include <memory>

#include "backends/gpu/decoder.h"
#include "backends/stack/session.h"

namespace mlbench::gpu {

// What a session of this type computes with on such a device.
[[nodiscard]] backends::Arithmetic arithmetic_of(const ModelConfig& config, DType dtype, Runtime& runtime);

class Session final : public stack::Session {
 public:
  Session(const std::string& backend, std::unique_ptr<Runtime> runtime, const Model& model,
          const backends::RunConfig& run);

  [[nodiscard]] backends::Arithmetic arithmetic() const override;
  void synchronize() override { stream_->synchronize(); }

 private:
  [[nodiscard]] std::unique_ptr<stack::PagedCache> make_cache(const KvLimits& limits) override;
  void embed_rows(std::span<const std::int32_t> ids, std::byte* out) override { decoder_.embed(ids, out); }
  void begin(stack::PagedCache& cache) override;
  void set_rows(const std::byte* x, Index count) override;
  void get_rows(std::byte* out, Index count) override;
  void enter(backends::TapSink* taps) override;
  void layer(Index index, backends::TapSink* taps) override;
  void final_norm(backends::TapSink* taps) override;
  void run_stack(backends::TapSink* taps) override;
  void write_logits(const stack::RowChoice& rows, std::byte* out, backends::TapSink* taps) override;

  // Queues the copies of tables and rows, once for what begin() and set_rows() gave.
  void copy_inputs();
  void copy_out(std::byte* to, const float* from, Index count);

  std::unique_ptr<Runtime> runtime_;
  std::unique_ptr<Stream> stream_;
  Index shards_;
  Decoder decoder_;
  Pinned input_, output_;
  Memory choice_;
  Index count_ = 0;  // rows held
  const DeviceCache* cache_ = nullptr;
  bool has_plan_ = false, has_input_ = false;  // not yet copied

  // Forwards of single rows by what makes them the same (Decoder::shape(), the cache): recorded the second time.
  std::map<std::vector<Index>, std::unique_ptr<Graph>> graphs_;
  std::uint64_t graphs_generation_ = 0;
};

}  // namespace mlbench::gpu
