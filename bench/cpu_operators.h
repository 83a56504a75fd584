// What the files of cpu_operators share: an operator on inputs of its own, how it is timed, and how its result is
// compared with the same computed in float64.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "backends/cpu/buffer.h"
#include "core/dtype.h"
#include "models/config.h"

namespace mlbench::cpu::bench {

inline constexpr double kU = 0x1p-24;  // float32's unit roundoff

// Of one run. Bytes: each input read once and each result written once, in the type that it is stored in; what an
// implementation reads again, or writes to read it later, it has to answer for. Flops: the multiplications, additions
// and divisions of the formula; 0 where exponentials and the like are most of it, or nothing is computed.
struct Work {
  double bytes = 0.0;
  double flops = 0.0;
};

// Elements of a result held against the same in float64.
class Comparison {
 public:
  void see(const std::string& where, double got, double expected, double limit);
  [[nodiscard]] const std::string& wrong() const { return wrong_; }  // the first one that is; "": none

 private:
  std::string wrong_;
};

class Operator {
 public:
  virtual ~Operator() = default;
  [[nodiscard]] virtual Work work() const = 0;
  virtual void run() = 0;
  // The result of the last run.
  virtual void compare(Comparison& comparison) const = 0;
  // What works in place spoils its inputs: for how many runs there are some, and making them anew, which is not timed.
  [[nodiscard]] virtual Index runs() const { return kAnyNumber; }
  virtual void renew() {}
  [[nodiscard]] virtual std::string label() const { return ""; }

  static constexpr Index kAnyNumber = -1;
};

struct NamedModel {
  std::string name;  // of the preset
  ModelConfig config;
};

// The benchmarks, and what lives as long as they do. Inputs are large: there are those of one operator at a time.
class Suite {
 public:
  Suite(std::vector<NamedModel> models, std::vector<int> threads);

  [[nodiscard]] const std::vector<NamedModel>& models() const { return models_; }
  // For what costs by the value: its width then stands for all.
  [[nodiscard]] const NamedModel& first_model() const { return models_.front(); }
  [[nodiscard]] const std::vector<int>& threads() const { return threads_; }

  using Make = std::function<std::unique_ptr<Operator>()>;
  // An operator on so many threads, or one that has no more than one ever (0), which its name then does not tell.
  void add(const std::string& name, int threads, Make make);

  // Inputs that operators registered one after the other have in common.
  template <class Inputs>
  std::shared_ptr<const Inputs> shared(const std::string& key, const std::function<std::unique_ptr<Inputs>()>& make) {
    if (key != shared_key_) {
      shared_.reset();
      shared_key_.clear();
      shared_ = make();
      shared_key_ = key;
    }
    return std::static_pointer_cast<const Inputs>(shared_);
  }

  // Whether a result was wrong, or an operator failed. What there is no memory for has not.
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  void time(benchmark::State& state, const std::string& name, const Make& make);
  [[nodiscard]] bool right(benchmark::State& state);

  std::vector<NamedModel> models_;
  std::vector<int> threads_;
  std::string name_;  // of the operator
  std::unique_ptr<Operator> operator_;
  std::string shared_key_;
  std::shared_ptr<const void> shared_;
  bool failed_ = false;
};

// How many copies of so many bytes a walk over all of them must find for none to be left in the caches when it comes
// round, as none is in a walk through the layers of a real model. At most 1024, so that copies of a few KiB do stay.
[[nodiscard]] Index copies_beyond_caches(double bytes);

// In [-1, 1), of all bit patterns, always the same of a seed.
void fill_random(std::uint64_t seed, float* out, Index count);
[[nodiscard]] std::vector<float> random_floats(std::uint64_t seed, Index count);
// The same rounded to `type`.
[[nodiscard]] Buffer random_stored(DType type, std::uint64_t seed, Index count);
// Value `index` of those.
[[nodiscard]] double stored_at(DType type, const std::byte* data, Index index);

[[nodiscard]] inline std::size_t stored_bytes(DType type, Index count) {
  return static_cast<std::size_t>(count) * size_bytes(type);
}

inline constexpr DType kStored[] = {DType::f32, DType::bf16, DType::f16};
inline constexpr Index kRows[] = {1, 8, 64, 512};  // of a call

void add_products(Suite& suite);
void add_attention(Suite& suite);
void add_cache(Suite& suite);
void add_rows(Suite& suite);
void add_rotations(Suite& suite);
void add_conversions(Suite& suite);

}  // namespace mlbench::cpu::bench
