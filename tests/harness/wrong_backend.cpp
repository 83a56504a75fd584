#include "tests/harness/wrong_backend.h"

#include <algorithm>
#include <stdexcept>

#include "backends/registry.h"
#include "core/error.h"
#include "models/tensor_inventory.h"

namespace mlbench::harness::test {
namespace {

std::unique_ptr<backends::Backend> cpu() {
  const auto entries = backends::built_in();
  return std::ranges::find(entries, "cpu", &backends::Entry::name)->make();
}

class Around : public backends::Backend {
 public:
  [[nodiscard]] std::string_view name() const override { return inner_->name(); }
  [[nodiscard]] std::string version() const override { return inner_->version(); }
  [[nodiscard]] std::vector<backends::DeviceInfo> devices() const override { return inner_->devices(); }
  [[nodiscard]] backends::Support supports(const ModelConfig& config, const backends::RunConfig& run) const override {
    return inner_->supports(config, run);
  }
  [[nodiscard]] backends::MemoryEstimate memory(const ModelConfig& config, const backends::RunConfig& run,
                                                const KvLimits& limits) const override {
    return inner_->memory(config, run, limits);
  }
  [[nodiscard]] std::unique_ptr<backends::Session> load(const Model& model, const backends::RunConfig& run) override {
    return inner_->load(model, run);
  }

 private:
  std::unique_ptr<backends::Backend> inner_ = cpu();
};

class Changed final : public Around {
 public:
  explicit Changed(std::function<Model(const Model&)> change) : change_(std::move(change)) {}
  [[nodiscard]] std::unique_ptr<backends::Session> load(const Model& model, const backends::RunConfig& run) override {
    changed_ = change_(model);
    return Around::load(changed_, run);
  }

 private:
  std::function<Model(const Model&)> change_;
  Model changed_;
};

class Breaking final : public backends::Session {
 public:
  explicit Breaking(std::unique_ptr<backends::Session> inner) : inner_(std::move(inner)) {}
  [[nodiscard]] backends::Arithmetic arithmetic() const override { return inner_->arithmetic(); }
  [[nodiscard]] backends::Support gives(Tap tap) const override { return inner_->gives(tap); }
  [[nodiscard]] backends::Support isolates_layers() const override {
    return backends::Support::no("it keeps its layers to itself");
  }
  [[nodiscard]] std::unique_ptr<backends::KvCache> create_paged_kv_cache(const KvLimits& limits) override {
    return inner_->create_paged_kv_cache(limits);
  }
  void embed(std::span<const std::int32_t> ids, const TensorView& out) override { inner_->embed(ids, out); }
  void get_logits(const ConstTensorView& hidden, const TensorView& out) override { inner_->get_logits(hidden, out); }
  void batch_select_last_hidden_states(const ConstTensorView& hidden, std::span<const std::int32_t> positions,
                                       const TensorView& out) override {
    inner_->batch_select_last_hidden_states(hidden, positions, out);
  }
  void forward(backends::Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    if (++calls_ == 2) throw std::runtime_error("the device fell off the bus");
    inner_->forward(method, x, positions, cache, out, taps);
  }
  void run_part(const backends::Part& part, const ConstTensorView& x, backends::KvCache& cache, const TensorView& out,
                backends::TapSink* taps) override {
    inner_->run_part(part, x, cache, out, taps);
  }

 private:
  std::unique_ptr<backends::Session> inner_;
  int calls_ = 0;
};

class ThatBreaks final : public Around {
 public:
  [[nodiscard]] std::unique_ptr<backends::Session> load(const Model& model, const backends::RunConfig& run) override {
    return std::make_unique<Breaking>(Around::load(model, run));
  }
};

}  // namespace

std::unique_ptr<backends::Backend> with_changed_model(std::function<Model(const Model&)> change) {
  return std::make_unique<Changed>(std::move(change));
}

std::unique_ptr<backends::Backend> that_breaks() { return std::make_unique<ThatBreaks>(); }

Model with_row_repeated(const Model& model, const std::string& tensor, Index row) {
  const WeightView from = model.weights->get(tensor);
  const std::size_t row_bytes = static_cast<std::size_t>(from.cols) * size_bytes(from.dtype);
  const auto bytes =
      std::make_shared<std::vector<std::byte>>(from.data, from.data + static_cast<std::size_t>(from.rows) * row_bytes);
  std::copy_n(bytes->begin() + static_cast<std::ptrdiff_t>(row_bytes) * (row + 1), row_bytes,
              bytes->begin() + static_cast<std::ptrdiff_t>(row_bytes) * row);
  const auto weights = std::make_shared<Weights>(*model.weights);
  weights->keep(model.weights);
  weights->keep(bytes);
  weights->put(tensor, {.dtype = from.dtype, .rows = from.rows, .cols = from.cols, .data = bytes->data()});
  Model out = model;
  out.weights = weights;
  return out;
}

}  // namespace mlbench::harness::test
