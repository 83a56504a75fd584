// Speed of the CPU backend's operators by themselves, through the classes that its sessions use: products, attention,
// the cache, and what stands between them. Shapes are those of presets.
//
// Each prints the bytes and floating-point operations per second that its formula needs at least (Work), whatever the
// implementation does; `mlbench probe --backend cpu` tells what the machine reaches. Before and after being timed, a
// few elements of each result are held against float64 within the worst case of float32's rounding; one that lies
// beyond makes the benchmark an error, and the exit code 1. docs/performance.md shows the command.
#include "bench/cpu_operators.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <new>
#include <set>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "backends/cpu/convert.h"
#include "backends/cpu/onednn.h"
#include "backends/cpu/probe.h"
#include "backends/cpu/threads.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/processors.h"
#include "harness/memory.h"
#include "models/presets.h"

namespace mlbench::cpu::bench {
namespace {

constexpr Index kChunk = 4096;  // values that are made at a time

// Threads that the machine and OpenMP have.
int most_threads() { return std::min(all_threads(), omp_get_thread_limit()); }

double bytes_beyond_caches() {
  static const auto bytes = static_cast<double>(
      buffer_bytes_to_read(machine::Processors("/sys").last_level_cache_bytes(), harness::available_memory_bytes()));
  return bytes;
}

}  // namespace

void Comparison::see(const std::string& where, double got, double expected, double limit) {
  if (std::fabs(got - expected) <= limit || !wrong_.empty()) return;  // a NaN is wrong
  wrong_ = fmt::format("wrong result, {}: got {:g}, in float64 {:g}, at most {:g} apart", where, got, expected, limit);
}

Suite::Suite(std::vector<NamedModel> models, std::vector<int> threads)
    : models_(std::move(models)), threads_(std::move(threads)) {}

void Suite::add(const std::string& name, int threads, Make make) {
  const std::string full = threads == 0 ? name : fmt::format("{}/threads:{}", name, threads);
  const auto run = [this, full, threads, make = std::move(make)](benchmark::State& state) {
    if (threads <= most_threads()) return time(state, full, make);
    state.SkipWithError(fmt::format("{} threads: this machine gives {}", threads, most_threads()).c_str());
  };
#ifndef __clang_analyzer__  // it takes for a leak, in the library's header, what the library's list owns
  benchmark::RegisterBenchmark(full.c_str(), run)->UseRealTime()->Unit(benchmark::kMicrosecond);
#endif
}

bool Suite::right(benchmark::State& state) {
  Comparison comparison;
  operator_->compare(comparison);
  if (comparison.wrong().empty()) return true;
  state.SkipWithError(comparison.wrong().c_str());
  failed_ = true;
  return false;
}

// Called several times for one operator, until its runs take long enough.
void Suite::time(benchmark::State& state, const std::string& name, const Make& make) {
  try {
    if (name != name_) {
      operator_.reset();
      name_.clear();
      operator_ = make();
      operator_->renew();
      operator_->run();
      if (!right(state)) return;
      name_ = name;
    }
    const Index runs = operator_->runs();
    Index left = 0;
    for (auto _ : state) {
      if (runs != Operator::kAnyNumber && left-- == 0) {
        state.PauseTiming();
        operator_->renew();
        left = runs - 1;
        state.ResumeTiming();
      }
      operator_->run();
      benchmark::ClobberMemory();
    }
    if (!right(state)) return;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::internal) failed_ = true;
    return state.SkipWithError(error.what());
  } catch (const std::bad_alloc&) {
    return state.SkipWithError("there is not enough memory for the inputs");
  }
  const auto rate = [](double amount) {
    return benchmark::Counter(amount, benchmark::Counter::kIsIterationInvariantRate);
  };
  const Work work = operator_->work();
  state.counters["bytes"] = rate(work.bytes);
  if (work.flops > 0.0) state.counters["flops"] = rate(work.flops);
  state.SetLabel(operator_->label());
}

Index copies_beyond_caches(double bytes) {
  return static_cast<Index>(std::clamp(std::ceil(bytes_beyond_caches() / bytes), 1.0, 1024.0));
}

void fill_random(std::uint64_t seed, float* out, Index count) {
  for (Index i = 0; i < count; ++i) {
    out[i] = static_cast<float>(static_cast<std::int32_t>(scattered(seed, static_cast<std::uint64_t>(i)))) * 0x1p-31F;
  }
}

std::vector<float> random_floats(std::uint64_t seed, Index count) {
  std::vector<float> out(static_cast<std::size_t>(count));
  fill_random(seed, out.data(), count);
  return out;
}

Buffer random_stored(DType type, std::uint64_t seed, Index count) {
  Buffer out(stored_bytes(type, count));
  std::vector<float> values(kChunk);
  for (Index first = 0; first < count; first += kChunk) {
    const Index part = std::min(kChunk, count - first);
    fill_random(scattered(seed, static_cast<std::uint64_t>(first)), values.data(), part);
    narrow(type, values.data(), out.data() + stored_bytes(type, first), part);
  }
  return out;
}

double stored_at(DType type, const std::byte* data, Index index) {
  double out = 0.0;
  mlbench::widen(type, data + stored_bytes(type, index), {&out, 1});
  return out;
}

namespace {

constexpr const char* kOptions =
    "cpu_operators [--preset NAME,...] [--threads N,...]\n"
    "          [--preset=tinyllama-1.1b,llama-2-7b,phi-2]  whose shapes\n"
    "          [--threads=1,ALL]                           numbers of threads\n";

struct Options {
  std::vector<std::string> presets = {"tinyllama-1.1b", "llama-2-7b", "phi-2"};
  std::vector<int> threads = {1, most_threads()};
};

void help() {
  std::cout << kOptions;
  benchmark::PrintDefaultHelp();
}

// What Google Benchmark left of the arguments.
Options parsed(int argc, char** argv) {
  Options options;
  CLI::App app;
  app.add_option("--preset", options.presets)->delimiter(',');
  app.add_option("--threads", options.threads)->delimiter(',')->check(CLI::Range(1, 65536));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    throw request_error("usage", fmt::format("{}; --help lists the options", one_line(error.what())));
  }
  const std::set<int> distinct(options.threads.begin(), options.threads.end());
  options.threads.assign(distinct.begin(), distinct.end());
  return options;
}

int run(int argc, char** argv) {
  benchmark::Initialize(&argc, argv, help);
  const Options options = parsed(argc, argv);
  std::vector<NamedModel> models;
  for (const std::string& name : options.presets) models.push_back({name, preset_config(name)});
  Suite suite(std::move(models), options.threads);
  add_products(suite);
  add_attention(suite);
  add_cache(suite);
  add_rows(suite);
  add_rotations(suite);
  add_conversions(suite);
  benchmark::AddCustomContext("backend", fmt::format("{}, {}", onednn::version(), onednn::instruction_set()));
  const std::size_t matched = benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return matched == 0 || suite.failed() ? 1 : 0;
}

}  // namespace
}  // namespace mlbench::cpu::bench

int main(int argc, char** argv) {
  try {
    return mlbench::cpu::bench::run(argc, argv);
  } catch (const mlbench::Error& error) {
    std::cerr << "error: " << error.what() << '\n';
    return mlbench::exit_code(error.kind());
  }
}
