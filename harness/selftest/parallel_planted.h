// The mistake of parallel execution that workers have in them, if any, and how often it was made.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "harness/selftest/parallel_mistakes.h"

namespace mlbench::selftest {

// As Planted; workers are threads, and all of them count.
class ParallelPlanted {
 public:
  ParallelPlanted() = default;  // none
  explicit ParallelPlanted(ParallelMistake mistake)
      : mistake_(mistake), hits_(std::make_shared<std::atomic<std::uint64_t>>(0)) {}

  [[nodiscard]] bool is(ParallelMistake mistake) const { return mistake_ == mistake; }
  [[nodiscard]] bool at(ParallelMistake mistake) const {
    if (!is(mistake)) return false;
    ++*hits_;
    return true;
  }
  [[nodiscard]] std::uint64_t hits() const { return hits_ ? hits_->load() : 0; }

 private:
  std::optional<ParallelMistake> mistake_;
  std::shared_ptr<std::atomic<std::uint64_t>> hits_;
};

}  // namespace mlbench::selftest
