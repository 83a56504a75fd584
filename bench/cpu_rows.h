// Operators on the rows of a call, each row by itself.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "backends/cpu/threads.h"
#include "bench/cpu_operators.h"

namespace mlbench::cpu::bench {

// A value in float64, and how far from it float32 may be.
struct Expected {
  double value = 0.0;
  double limit = 0.0;
};

struct RowFormula {
  bool in_place = true;  // of y, which starts as x
  double bytes = 0.0;    // per value
  double flops = 0.0;    // per value
  double beside = 0.0;   // bytes of what all rows share, or of what belongs to a row as a whole
  std::function<void(const float* x, float* y, Index row)> run;
  std::function<Expected(const float* x, Index row, Index i)> expected;
};

// A formula on all rows of a call. In place it has several sets of them in turn, together no more than a core's own
// cache may hold, where one set is less: the product before has just written what is read here. The sets differ, or
// branches within exp and tanh would be foreseen that are not in real rows.
class Rows final : public Operator {
 public:
  Rows(RowFormula formula, Index rows, Index width, int threads)
      : formula_(std::move(formula)),
        rows_(rows),
        width_(width),
        threads_(threads),
        sets_(formula_.in_place ? std::max(Index{1}, kInPlaceValues / (rows * width)) : 1),
        x_(random_floats(9, sets_ * rows * width)),
        y_(x_.size()) {
    for (float& value : x_) value *= 4.0F;
  }

  [[nodiscard]] Work work() const override {
    const auto values = static_cast<double>(rows_ * width_);
    return {.bytes = values * formula_.bytes + formula_.beside, .flops = values * formula_.flops};
  }
  [[nodiscard]] Index runs() const override { return formula_.in_place ? sets_ : kAnyNumber; }
  void renew() override {
    next_ = 0;
    if (formula_.in_place) y_ = x_;
  }
  void run() override {
    const float* x = x_.data() + next_ * rows_ * width_;
    float* y = y_.data() + next_ * rows_ * width_;
    const int team = threads_ == 0 ? 1 : worthwhile(8 * rows_ * width_, threads_);  // as Decoder::team
    parallel_for(rows_, team, [&](Index row, int) { formula_.run(x + row * width_, y + row * width_, row); });
    last_ = next_;
    if (formula_.in_place) ++next_;
  }
  void compare(Comparison& comparison) const override {
    for (const Index row : {Index{0}, rows_ - 1}) {
      const Index first = (last_ * rows_ + row) * width_;
      for (const Index i : {Index{0}, width_ / 2, width_ - 1}) {
        const Expected expected = formula_.expected(x_.data() + first, row, i);
        comparison.see(fmt::format("row {}, value {}", row, i), double{y_[static_cast<std::size_t>(first + i)]},
                       expected.value, expected.limit);
      }
    }
  }

 private:
  static constexpr Index kInPlaceValues = Index{1} << 17U;

  RowFormula formula_;
  Index rows_, width_;
  int threads_;  // 0: the backend has one for this
  Index sets_;
  std::vector<float> x_, y_;
  Index next_ = 0, last_ = 0;
};

using MakeFormula = std::function<RowFormula(Index rows)>;

inline void add_formula(Suite& suite, const std::string& name, Index width, const std::vector<int>& threads,
                        const MakeFormula& make) {
  for (const Index rows : kRows) {
    for (const int count : threads) {
      suite.add(fmt::format("{}/rows:{}", name, rows), count,
                [=] { return std::make_unique<Rows>(make(rows), rows, width, count); });
    }
  }
}

}  // namespace mlbench::cpu::bench
