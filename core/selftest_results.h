// What the selftest counted: which planted mistakes verification found and placed, and how often it was wrong about an
// honest execution. harness/ fills these, reports/ renders them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace mlbench {

// One mistake in one type.
struct MistakeResult {
  std::string name;   // "rope-turns-back"
  std::string what;   // for people
  std::string scene;  // the configuration that it was planted in
  bool executed = false;
  std::string verdict;   // of the verification: "failed", "passed", ...
  bool found = false;    // executed, and the verdict is failed, error, or untrusted for what the execution gave
  bool placed = false;   // found where it was made
  std::string where;     // what failed first: a tap, the code of a finding, an invariance; empty: nothing
  std::string call;      // where a tap did: "isolated single/0 prefill"
  double ratio = 0.0;    // the largest error / limit of any tap; infinite where a value is not a number
  bool certain = false;  // larger than a rounding in every type: must be found and placed, whatever the shares
};

// An honest execution that was not passed.
struct FalseAlarm {
  std::string scene;
  std::uint64_t seed = 0;
  std::string verdict, where, call;
  double ratio = 0.0;
};

struct SelftestOfType {
  std::string dtype;
  double required_found = 1.0;  // share of the mistakes planted, but for those that are certain
  std::vector<MistakeResult> mistakes;
  Index honest_runs = 0;
  double honest_ratio = 0.0;  // the largest error / limit of any honest run
  std::vector<FalseAlarm> alarms;

  [[nodiscard]] Index planted() const { return static_cast<Index>(mistakes.size()); }
  [[nodiscard]] Index executed() const { return count(&MistakeResult::executed); }
  [[nodiscard]] Index found() const { return count(&MistakeResult::found); }
  [[nodiscard]] Index placed() const { return count(&MistakeResult::placed); }
  // What must be true of a bench that is believed: (nearly) all found, 95% of those found in their place, all that are
  // certain in theirs, no alarm. Shares are of the others, so that many that are certain do not hide a few that are
  // not.
  [[nodiscard]] bool enough() const {
    Index planted = 0, found = 0, placed = 0;
    for (const MistakeResult& m : mistakes) {
      if (m.certain && !m.placed) return false;
      if (m.certain) continue;
      ++planted;
      found += m.found ? 1 : 0;
      placed += m.placed ? 1 : 0;
    }
    return static_cast<double>(found) >= required_found * static_cast<double>(planted) && placed * 100 >= found * 95 &&
           alarms.empty();
  }

 private:
  [[nodiscard]] Index count(bool MistakeResult::*what) const {
    return std::count_if(mistakes.begin(), mistakes.end(), [=](const MistakeResult& m) { return m.*what; });
  }
};

struct SelftestResults {
  Index seeds = 0;  // of honest runs, from 1 on
  std::vector<SelftestOfType> types;

  [[nodiscard]] bool enough() const {
    return std::all_of(types.begin(), types.end(), [](const SelftestOfType& type) { return type.enough(); });
  }
};

// In bf16 a mistake may be smaller than a rounding; in f32 all of the table are larger.
[[nodiscard]] inline double required_share(std::string_view dtype) { return dtype == "f32" ? 1.0 : 0.95; }

}  // namespace mlbench
