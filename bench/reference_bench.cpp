// Speed and memory of the float64 reference on a real size: tinyllama-1.1b with synthetic bf16 weights, a prefill of 64
// tokens.
//
// What is claimed are ratios, so both sides of each are measured in turns in one process: prefill against the dgemm
// calls alone (whole matrices that are float64 already, BLAS's own threads), and two threads against one. Run with
// repetitions to see the spread; docs/performance.md shows the command.
#include <benchmark/benchmark.h>
#include <cblas.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "models/presets.h"
#include "models/synthetic.h"
#include "models/tensor_inventory.h"
#include "reference/reference.h"

namespace mlbench {
namespace {

constexpr const char* kPreset = "tinyllama-1.1b";
constexpr Index kTokens = 64;

double seconds(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Bytes of memory that this process has held at most so far (VmHWM).
double peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::stod(line.substr(6)) * 1024.0;
  }
  return 0.0;
}

const Model& model() {
  static const Model made = [] {
    Workers workers(Workers::hardware());
    return make_synthetic(preset_config(kPreset), DType::bf16, 1, workers);
  }();
  return made;
}

class Prefill {
 public:
  explicit Prefill(int threads) : workers_(threads), reference_(model(), workers_) {
    std::vector<std::int32_t> tokens(kTokens);
    std::iota(tokens.begin(), tokens.end(), 100);
    x_ = reference_.embed(tokens).reshaped({1, kTokens, reference_.config().hidden_size});
  }

  void run() const {
    ref::PagedKvCache cache = reference_.create_paged_kv_cache(
        {.max_batch_size = 1, .max_total_seq_len = kTokens, .prefill_chunk_size = kTokens, .page_size = 16});
    cache.add_sequence(0);
    const SeqId ids[] = {0};
    const Index lengths[] = {kTokens};
    cache.begin_forward(ids, lengths);
    benchmark::DoNotOptimize(reference_.prefill(x_, cache));
    cache.end_forward();
  }

 private:
  Workers workers_;
  ref::Reference reference_;
  ref::Tensor x_;
};

// The products of the same prefill and nothing else.
class DgemmAlone {
 public:
  explicit DgemmAlone(int threads) : threads_(threads) {
    const ModelConfig& config = model().config;
    std::vector<TensorSpec> specs = layer_tensors(config, 0);
    Index largest_weight = config.vocab_size * config.hidden_size;
    Index widest = std::max(config.vocab_size, config.intermediate_size);
    for (const TensorSpec& spec : specs) {
      if (spec.shape.size() == 2) layer_shapes_.push_back(spec.shape);
    }
    weight_.assign(static_cast<std::size_t>(largest_weight), 0.5);
    x_.assign(static_cast<std::size_t>(kTokens * widest), 0.25);
    y_.assign(static_cast<std::size_t>(kTokens * widest), 0.0);
  }

  void run() {
    openblas_set_num_threads(threads_);
    const ModelConfig& config = model().config;
    for (Index layer = 0; layer < config.num_layers; ++layer) {
      for (const Shape& shape : layer_shapes_) product(kTokens, shape);
    }
    product(1, {config.vocab_size, config.hidden_size});  // prefill gives the last row's logits
    openblas_set_num_threads(1);                          // as the reference wants it
  }

 private:
  void product(Index rows, const Shape& shape) {
    const int n = static_cast<int>(rows), out = static_cast<int>(shape[0]), in = static_cast<int>(shape[1]);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, out, in, 1.0, x_.data(), in, weight_.data(), in, 0.0,
                y_.data(), out);
  }

  int threads_;
  std::vector<Shape> layer_shapes_;
  std::vector<double> weight_, x_, y_;
};

// Registered first: the others hold matrices of their own.
void peak_memory(benchmark::State& state) {
  const double checkpoint = static_cast<double>(parameter_count(model().config)) * 2.0;
  const Prefill prefill(2);
  for (auto _ : state) prefill.run();
  state.counters["checkpoint_GiB"] = checkpoint / 0x1p30;
  state.counters["peak_GiB"] = peak_bytes() / 0x1p30;
  state.counters["above_GiB"] = (peak_bytes() - checkpoint) / 0x1p30;
}

void prefill_against_dgemm(benchmark::State& state) {
  const int threads = static_cast<int>(state.range(0));
  const Prefill prefill(threads);
  DgemmAlone dgemm(threads);
  prefill.run();
  dgemm.run();
  double prefill_s = 0.0, dgemm_s = 0.0;
  for (auto _ : state) {
    dgemm_s += seconds([&] { dgemm.run(); });
    const double once = seconds([&] { prefill.run(); });
    prefill_s += once;
    state.SetIterationTime(once);
  }
  state.counters["prefill_s"] = benchmark::Counter(prefill_s, benchmark::Counter::kAvgIterations);
  state.counters["dgemm_s"] = benchmark::Counter(dgemm_s, benchmark::Counter::kAvgIterations);
  state.counters["ratio"] = prefill_s / dgemm_s;
}

void two_threads_against_one(benchmark::State& state) {
  const Prefill one(1), two(2);
  one.run();
  two.run();
  double one_s = 0.0, two_s = 0.0;
  for (auto _ : state) {
    one_s += seconds([&] { one.run(); });
    const double once = seconds([&] { two.run(); });
    two_s += once;
    state.SetIterationTime(once);
  }
  state.counters["one_thread_s"] = benchmark::Counter(one_s, benchmark::Counter::kAvgIterations);
  state.counters["two_threads_s"] = benchmark::Counter(two_s, benchmark::Counter::kAvgIterations);
  state.counters["speedup"] = one_s / two_s;
}

BENCHMARK(peak_memory)->Iterations(1)->Repetitions(1)->Unit(benchmark::kMillisecond);
BENCHMARK(prefill_against_dgemm)
    ->ArgName("threads")
    ->Arg(1)
    ->Arg(2)
    ->Iterations(1)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(two_threads_against_one)->Iterations(1)->UseManualTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace mlbench

BENCHMARK_MAIN();
