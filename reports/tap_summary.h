// The checks of a run, brought together by tap and mode.
#pragma once

#include <array>
#include <iterator>
#include <string>
#include <vector>

#include "core/results.h"

namespace mlbench::reports {

// The checks of one key in one mode.
struct TapSummary {
  const TapCheck* worst = nullptr;
  Index checks = 0, failed = 0, elements = 0, straying = 0;

  void add(const TapCheck& check);
};

struct TapRow {
  std::string key;
  std::array<TapSummary, std::size(kVerifyModes)> by_mode;

  [[nodiscard]] const TapSummary& in(VerifyMode mode) const { return by_mode[static_cast<std::size_t>(mode)]; }
};

// In the order in which keys are first checked; `key` is &TapCheck::tap or &TapCheck::kind.
[[nodiscard]] std::vector<TapRow> summarize(const BackendVerification& result, std::string TapCheck::*key);

// Null where the run has no check in that mode.
[[nodiscard]] const TapCheck* worst_check(const BackendVerification& result, VerifyMode mode);

// "0.25"; of a check that failed a limit of 0 "limit 0".
[[nodiscard]] std::string ratio_text(const TapCheck& check);
// The same of the worst check in a mode; "-" where there is none.
[[nodiscard]] std::string worst_text(const BackendVerification& result, VerifyMode mode);

// Checks that failed alike, and so perhaps for one reason: of one kind of tap, with one guess, with the reference's
// inputs (isolated, exact) or freely (chained).
struct Cause {
  std::vector<VerifyMode> modes;
  std::string kind;
  std::string guess;
  Index checks = 0;
  std::vector<Index> layers;  // ascending; empty: outside the layers
  std::vector<std::string> calls;
  const TapCheck* first = nullptr;
};

// In the order of their first check.
[[nodiscard]] std::vector<Cause> causes_of(const BackendVerification& result);

[[nodiscard]] std::string modes_text(const Cause& cause);   // "isolated, exact"
[[nodiscard]] std::string layers_text(const Cause& cause);  // "0-3, 7"; "-" outside the layers

}  // namespace mlbench::reports
