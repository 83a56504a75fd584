// Rotary position embedding: cosines and sines of a call, and the rotation by them.
#include <cmath>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "backends/cpu/heads.h"
#include "backends/cpu/rope.h"
#include "bench/cpu_operators.h"
#include "bench/cpu_rows.h"

namespace mlbench::cpu::bench {
namespace {

constexpr Index kFirstPosition = 1000;

std::vector<Index> positions(Index rows) {
  std::vector<Index> out;
  for (Index row = 0; row < rows; ++row) out.push_back(kFirstPosition + row);
  return out;
}

// Queries and keys of a row, side by side. A value is two products, a sum, and the rounding of cosine and sine.
RowFormula rotation_formula(const ModelConfig& config, Index rows) {
  const auto rotation = std::make_shared<Rotation>(config.rope);
  rotation->set(positions(rows));
  const Index width = config.head_dim, count = config.num_heads + config.num_kv_heads;
  const std::vector<double> frequencies = stack::rope_frequencies(config.rope);
  const Index half = rotation->half();
  const double rotated = static_cast<double>(2 * half) / static_cast<double>(width);  // share of a head's values
  return {.bytes = 8.0 * rotated,
          .flops = 3.0 * rotated,
          .beside = 2.0 * sizeof(float) * static_cast<double>(half * rows),
          .run =
              [=](const float*, float* y, Index row) {
                // This row alone: at(row, head) is then y's head.
                rotation->rotate(
                    {.data = y, .rows = 1, .count = count, .width = width, .row_stride = 0, .head_stride = width}, row);
              },
          .expected =
              [=](const float* x, Index row, Index i) {
                const Index place = i % width;
                if (place >= 2 * half) return Expected{double{x[i]}, 0.0};
                const bool low = place < half;
                const double angle = static_cast<double>(kFirstPosition + row) *
                                     frequencies[static_cast<std::size_t>(low ? place : place - half)];
                const double own = double{x[i]} * std::cos(angle);
                const double other = double{low ? -x[i + half] : x[i - half]} * std::sin(angle);
                return Expected{own + other, 4.0 * kU * (std::fabs(own) + std::fabs(other))};
              }};
}

// Cosines and sines of a call, once for all layers.
class Angles final : public Operator {
 public:
  Angles(const RopeConfig& config, Index rows)
      : frequencies_(stack::rope_frequencies(config)), positions_(positions(rows)), rotation_(config) {}

  [[nodiscard]] Work work() const override {
    return {.bytes = 2.0 * sizeof(float) * static_cast<double>(positions_.size() * frequencies_.size()), .flops = 0.0};
  }
  void run() override { rotation_.set(positions_); }
  void compare(Comparison& comparison) const override {
    const auto row = static_cast<Index>(positions_.size()) - 1;
    for (std::size_t i = 0; i < frequencies_.size(); ++i) {
      const double angle = static_cast<double>(positions_.back()) * frequencies_[i];
      comparison.see(fmt::format("cosine {}", i), double{rotation_.cos(row)[i]}, std::cos(angle), kU);
      comparison.see(fmt::format("sine {}", i), double{rotation_.sin(row)[i]}, std::sin(angle), kU);
    }
  }

 private:
  std::vector<double> frequencies_;
  std::vector<Index> positions_;
  Rotation rotation_;
};

void add_rotation(Suite& suite, const NamedModel& model) {
  const ModelConfig& config = model.config;
  if (config.rope.kind == RopeKind::none) return;
  add_formula(suite, "rope/" + model.name, config.q_width() + config.kv_width(), suite.threads(),
              [&config](Index rows) { return rotation_formula(config, rows); });
  for (const Index rows : kRows) {
    suite.add(fmt::format("rope.angles/{}/rows:{}", model.name, rows), 0,
              [=, &config] { return std::make_unique<Angles>(config.rope, rows); });
  }
}

}  // namespace

void add_rotations(Suite& suite) {
  for (const NamedModel& model : suite.models()) add_rotation(suite, model);
}

}  // namespace mlbench::cpu::bench
