// The mistake that an execution has in it, if any, and how often its code ran.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "harness/selftest/mistakes.h"

namespace mlbench::selftest {

class Planted {
 public:
  Planted() = default;  // none
  explicit Planted(Mistake mistake) : mistake_(mistake), hits_(std::make_shared<std::uint64_t>(0)) {}

  // Asked at the place where the mistake would be made, and only where it would make a difference: true when it is the
  // one, and then it counts as executed.
  [[nodiscard]] bool at(Mistake mistake) const {
    if (mistake_ != mistake) return false;
    ++*hits_;
    return true;
  }
  // How often so far; shared by all copies, so that a mistake can also differ from run to run.
  [[nodiscard]] std::uint64_t hits() const { return hits_ ? *hits_ : 0; }

 private:
  std::optional<Mistake> mistake_;
  std::shared_ptr<std::uint64_t> hits_;
};

}  // namespace mlbench::selftest
