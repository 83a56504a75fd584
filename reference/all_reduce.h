// The sum of what several threads have, ranks in ascending order: each gets the same bits.
#pragma once

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstddef>
#include <functional>
#include <vector>

#include "reference/tensor.h"

namespace mlbench::ref {

// Thrown in the ranks that were not to blame.
struct AnotherFailed {};

class AllReduce {
 public:
  explicit AllReduce(std::size_t ranks) : parts_(ranks), meet_(static_cast<std::ptrdiff_t>(ranks)) {}

  // Returns when all ranks have called it; throws AnotherFailed where one has left.
  [[nodiscard]] Tensor sum(std::size_t rank, const Tensor& part) {
    parts_[rank] = &part;
    meet_.arrive_and_wait();
    Tensor out = left_ ? Tensor() : added();
    meet_.arrive_and_wait();  // nobody's part goes before all have read it
    if (left_) throw AnotherFailed();
    return out;
  }

  // For a rank that failed: the others must not wait for it.
  void leave() {
    left_ = true;
    meet_.arrive_and_drop();
  }

 private:
  [[nodiscard]] Tensor added() const {
    Tensor out = *parts_[0];
    for (std::size_t rank = 1; rank < parts_.size(); ++rank) {
      std::ranges::transform(out.values(), parts_[rank]->values(), out.values().begin(), std::plus<>());
    }
    return out;
  }

  std::vector<const Tensor*> parts_;
  std::barrier<> meet_;
  std::atomic<bool> left_ = false;
};

}  // namespace mlbench::ref
