// The energy that the machine's processors use, where their counters (RAPL) can be read; since Linux 5.10 that is
// root's privilege unless someone grants it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace mlbench::measure {

// All processor packages together, whoever uses them; memory and the rest of the machine are not in it.
class EnergyMeter {
 public:
  // Nothing where there is no package below `powercap`, or one that cannot be read.
  [[nodiscard]] static std::optional<EnergyMeter> find(const std::filesystem::path& powercap = "/sys/class/powercap");

  // Used since find(); the difference of two answers is what was used between them. Counters turn over, in a quarter
  // of an hour at a few hundred watts: to be asked more often than that. Nothing from the first time on that one
  // cannot be read.
  [[nodiscard]] std::optional<double> joules();

 private:
  struct Package {
    std::filesystem::path counter;
    std::uint64_t range_uj = 0;  // it counts up to here and goes on from 0
    std::uint64_t last_uj = 0;
  };

  std::vector<Package> packages_;
  std::uint64_t used_uj_ = 0;
  bool lost_ = false;
};

}  // namespace mlbench::measure
