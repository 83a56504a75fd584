#include "backends/cpu/cpu_backend.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include <fmt/format.h>

#include "backends/cpu/onednn.h"
#include "backends/cpu/probe.h"
#include "backends/cpu/session.h"
#include "backends/cpu/threads.h"
#include "backends/stack/memory.h"
#include "backends/stack/rope.h"
#include "core/error.h"
#include "models/parts.h"

namespace mlbench::cpu {
namespace {

using backends::DeviceInfo;
using backends::DeviceRates;
using backends::MemoryEstimate;
using backends::RunConfig;
using backends::Support;

constexpr const char* kDevice = "cpu";

// As Linux names it.
std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "processor of unknown name";
}

std::uint64_t physical_memory() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

int threads_of(const RunConfig& run) { return run.threads == 0 ? all_threads() : run.threads; }

// Matrices are multiplied where they stand; vectors are widened.
std::uint64_t weights_bytes(const ModelConfig& config) {
  const auto in_vectors = [](const std::vector<TensorSpec>& specs) {
    Index count = 0;
    for (const TensorSpec& spec : specs) count += spec.shape.size() == 1 ? element_count(spec.shape) : 0;
    return count;
  };
  const Index count = in_vectors(global_tensors(config)) + config.num_layers * in_vectors(layer_tensors(config, 0));
  return static_cast<std::uint64_t>(count) * sizeof(float);
}

// Rows of a call between its steps.
std::uint64_t scratch_bytes(const ModelConfig& c, const KvLimits& limits) {
  const Index row = 4 * c.hidden_size + 2 * c.q_width() + 2 * c.kv_width() + 2 * c.intermediate_size;
  return stack::product_of({static_cast<double>(limits.prefill_chunk_size), static_cast<double>(row), sizeof(float)});
}

// What of an answer does not depend on the model.
Support runs(const RunConfig& run) {
  if (run.dtype == DType::f64) return Support::no("f64: weights are stored as f32, bf16 or f16");
  if (!run.device.empty() && run.device != kDevice) {
    return Support::no(fmt::format("device {}: the cpu backend has one, {}", in_quotes(run.device), kDevice));
  }
  if (run.threads < 0) return Support::no(fmt::format("{} threads: must be >= 0, 0 for all", run.threads));
  return {};
}

class CpuBackend final : public backends::Backend {
 public:
  [[nodiscard]] std::string_view name() const override { return kDevice; }
  [[nodiscard]] std::string version() const override { return onednn::version(); }

  [[nodiscard]] std::vector<DeviceInfo> devices() const override {
    const std::string description =
        fmt::format("{}, {} threads, {}", processor_name(), all_threads(), onednn::instruction_set());
    return {{.id = kDevice, .description = description, .memory_bytes = physical_memory()}};
  }

  [[nodiscard]] Support supports(const ModelConfig& config, const RunConfig& run) const override {
    if (Support support = runs(run); !support) return support;
    return stack::rotates("cpu", config.rope);
  }

  [[nodiscard]] MemoryEstimate memory(const ModelConfig& whole, const RunConfig& run,
                                      const KvLimits& limits) const override {
    const ModelConfig config = config_of_part(whole, {run.tensor_parallel, run.pipeline_parallel}, run.stage);
    return {.weights_bytes = weights_bytes(config),
            .cache_bytes = stack::cache_bytes(config, run.dtype, limits),
            .scratch_bytes = scratch_bytes(config, limits)};
  }

  [[nodiscard]] std::unique_ptr<backends::Session> load(const Model& model, const RunConfig& run) override {
    if (const Support support = supports(model.config, run); !support) {
      throw request_error("config.unsupported", support.reason);
    }
    return std::make_unique<Session>(model, run, threads_of(run));
  }

  [[nodiscard]] std::optional<DeviceRates> measure_rates(const RunConfig& run, double seconds) override {
    if (const Support support = runs(run); !support) throw request_error("config.unsupported", support.reason);
    return cpu::measure_rates(run.dtype, threads_of(run), seconds);
  }
};

}  // namespace

std::unique_ptr<backends::Backend> make_cpu_backend() { return std::make_unique<CpuBackend>(); }

}  // namespace mlbench::cpu
