#include "backends/gpu/gpu_backend.h"

#include <algorithm>

#include <fmt/format.h>

#include "backends/gpu/attention_limits.h"
#include "backends/gpu/host_runtime.h"
#include "backends/gpu/rates.h"
#include "backends/gpu/session.h"
#include "backends/stack/memory.h"
#include "backends/stack/rope.h"
#include "core/error.h"
#include "models/parts.h"

namespace mlbench::gpu {
namespace {

using backends::DeviceInfo;
using backends::MemoryEstimate;
using backends::RunConfig;
using backends::Support;

constexpr std::string_view kHost = backends::kHostExecutor;

class GpuBackend final : public backends::Backend {
 public:
  explicit GpuBackend(std::unique_ptr<Platform> platform) : platform_(std::move(platform)) {}

  [[nodiscard]] std::string_view name() const override { return platform_->name(); }
  [[nodiscard]] std::string version() const override { return platform_->version(); }
  [[nodiscard]] std::string why_none() const override { return platform_->why_none(); }

  [[nodiscard]] std::vector<DeviceInfo> devices() const override {
    std::vector<DeviceInfo> out = platform_->devices();
    const DeviceProperties host = make_host_runtime(platform_->warp_width())->properties();
    out.push_back({.id = std::string(kHost), .description = host.name, .memory_bytes = host.memory_bytes});
    return out;
  }

  [[nodiscard]] Support supports(const ModelConfig& config, const RunConfig& run) const override {
    if (Support support = runs(run); !support) return support;
    if (Support support = attention_supports(config.num_heads, config.num_kv_heads, config.head_dim); !support)
      return support;
    return stack::rotates(name(), config.rope);
  }

  [[nodiscard]] MemoryEstimate memory(const ModelConfig& whole, const RunConfig& run,
                                      const KvLimits& limits) const override {
    const ModelConfig config = config_of_part(whole, {run.tensor_parallel, run.pipeline_parallel}, run.stage);
    return {.weights_bytes = weights_bytes(config, run.dtype),
            .cache_bytes = stack::cache_bytes(config, run.dtype, limits),
            .scratch_bytes = scratch_bytes(config, limits)};
  }

  [[nodiscard]] std::unique_ptr<backends::Session> load(const Model& model, const RunConfig& run) override {
    if (const Support support = supports(model.config, run); !support) {
      throw request_error("config.unsupported", support.reason);
    }
    std::unique_ptr<Runtime> runtime = runtime_of(run.device);
    require_free(*runtime, weights_bytes(model.config, run.dtype), "the weights");
    return std::make_unique<Session>(std::string(name()), std::move(runtime), model, run);
  }

  [[nodiscard]] std::optional<backends::DeviceRates> measure_rates(const RunConfig& run, double seconds) override {
    if (run.device == kHost) return std::nullopt;
    if (const Support found = has_device(run.device); !found)
      throw Error(ErrorKind::unavailable, "backend.unavailable", found.reason);
    if (const Support support = runs(run); !support) throw request_error("config.unsupported", support.reason);
    return gpu::measure_rates(*runtime_of(run.device), run.dtype, seconds);
  }

 private:
  // What of an answer does not depend on the model.
  [[nodiscard]] Support runs(const RunConfig& run) const {
    if (run.dtype == DType::f64) return Support::no("f64: weights are stored as f32, bf16 or f16");
    return has_device(run.device);
  }

  // Rows of a call between its steps.
  static std::uint64_t scratch_bytes(const ModelConfig& c, const KvLimits& limits) {
    const Index row = 6 * c.hidden_size + 4 * c.q_width() + 2 * c.kv_width() + 4 * c.intermediate_size;
    return stack::product_of({static_cast<double>(limits.prefill_chunk_size), static_cast<double>(row), sizeof(float)});
  }

  [[nodiscard]] Support has_device(const std::string& id) const {
    if (id == kHost) return {};
    const std::vector<DeviceInfo> found = platform_->devices();
    if (found.empty()) return Support::no(fmt::format("{}; --device host runs on the host executor", why_none()));
    if (id.empty() || id == name() || std::ranges::find(found, id, &DeviceInfo::id) != found.end()) return {};
    std::string ids;
    for (const DeviceInfo& device : found) ids += device.id + ", ";
    return Support::no(fmt::format("device {}: the {} backend has {}{}", in_quotes(id), name(), ids, kHost));
  }

  [[nodiscard]] std::unique_ptr<Runtime> runtime_of(const std::string& id) const {
    if (id == kHost) return make_host_runtime(platform_->warp_width());
    const std::vector<DeviceInfo> found = platform_->devices();
    const auto at = std::ranges::find(found, id, &DeviceInfo::id);
    return platform_->make_runtime(at == found.end() ? 0 : static_cast<int>(at - found.begin()));
  }

  std::unique_ptr<Platform> platform_;
};

class HostPlatform final : public Platform {
 public:
  HostPlatform(std::string_view name, std::string_view why, int warp_width)
      : name_(name), why_(why), warp_width_(warp_width) {}

  [[nodiscard]] std::string_view name() const override { return name_; }
  [[nodiscard]] std::string version() const override { return why_; }
  [[nodiscard]] std::string why_none() const override { return why_; }
  [[nodiscard]] int warp_width() const override { return warp_width_; }
  [[nodiscard]] std::vector<DeviceInfo> devices() const override { return {}; }
  [[nodiscard]] std::unique_ptr<Runtime> make_runtime(int /*device*/) const override {
    throw Error(ErrorKind::unavailable, "backend.unavailable", why_);
  }

 private:
  std::string name_, why_;
  int warp_width_;
};

}  // namespace

std::unique_ptr<Platform> make_host_platform(std::string_view name, std::string_view why, int warp_width) {
  return std::make_unique<HostPlatform>(name, why, warp_width);
}

std::unique_ptr<backends::Backend> make_gpu_backend(std::unique_ptr<Platform> platform) {
  return std::make_unique<GpuBackend>(std::move(platform));
}

}  // namespace mlbench::gpu
