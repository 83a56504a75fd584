#include "tests/harness/wrong_backend.h"

#include <algorithm>
#include <stdexcept>

#include "backends/registry.h"
#include "core/error.h"
#include "models/tensor_inventory.h"
#include "tests/harness/around.h"

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

class Breaking final : public SessionAround {
 public:
  using SessionAround::SessionAround;
  [[nodiscard]] backends::Support isolates_layers() const override {
    return backends::Support::no("it keeps its layers to itself");
  }
  void forward(backends::Method method, const ConstTensorView& x, std::span<const std::int32_t> positions,
               backends::KvCache& cache, const TensorView& out, backends::TapSink* taps) override {
    // Forwards without taps are not counted: they fill caches before a run begins.
    if (taps != nullptr && ++calls_ == 2) throw std::runtime_error("the device fell off the bus");
    SessionAround::forward(method, x, positions, cache, out, taps);
  }

 private:
  int calls_ = 0;
};

class WithSession final : public Around {
 public:
  explicit WithSession(AroundSession around) : around_(std::move(around)) {}
  [[nodiscard]] std::unique_ptr<backends::Session> load(const Model& model, const backends::RunConfig& run) override {
    auto inner = Around::load(model, run);
    return around_ ? around_(std::move(inner)) : std::move(inner);
  }

 private:
  AroundSession around_;
};

}  // namespace

std::unique_ptr<backends::Backend> with_changed_model(std::function<Model(const Model&)> change) {
  return std::make_unique<Changed>(std::move(change));
}

std::unique_ptr<backends::Backend> that_breaks() { return cpu_with_session<Breaking>(); }

std::unique_ptr<backends::Backend> cpu_backend(AroundSession around) {
  return std::make_unique<WithSession>(std::move(around));
}

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
