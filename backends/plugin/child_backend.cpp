#include "backends/plugin/child_backend.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include <fmt/format.h>

#include "backends/plugin/convert.h"
#include "backends/plugin/process.h"
#include "backends/plugin/remote_session.h"
#include "models/tensor_inventory.h"

namespace mlbench::plugin {
namespace {

using backends::DeviceRates;
using backends::MemoryEstimate;
using backends::RunConfig;
using backends::Support;

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

std::unique_ptr<backends::Session> load_in(std::shared_ptr<Process> process, const Model& model, const RunConfig& run) {
  WeightsFile file(process->weights_fd());
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
  std::unique_ptr<backends::Session> session;
  process->read("load", process->ask("load", Op::load, message),
                [&](Reader& answer) { session = make_remote_session(process, model.config, answer); });
  return session;
}

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
    return load_in(std::move(idle_), model, run);
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
