// The first tap that strays, kept for whoever looks into it.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "harness/check_tap.h"

namespace mlbench::harness {

struct Evidence {
  TapCheck check;
  ref::Tensor expected, got, limit;           // of one shape
  std::map<std::string, ref::Tensor> inputs;  // what the backend gave just before, by tap; chained mode: none
};

// Keeps what BackendVerification::first_failure will name.
class EvidenceKeeper {
 public:
  void see(const TapCheck& check, const Sight& sight);
  [[nodiscard]] const std::optional<Evidence>& kept() const { return kept_; }

 private:
  std::optional<Evidence> kept_;
};

// Writes expected.h5, got.h5 (which `mlbench golden diff` compares: each holds the tap under its name, and what it was
// computed from) and limit.h5 into a folder, which is made where it is not there. Throws file.unwritable.
void save(const Evidence& evidence, const std::string& folder);

}  // namespace mlbench::harness
