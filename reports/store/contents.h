// What is taken from a run's document: the facts that it is found by, and its figures.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "reports/store/store.h"

namespace mlbench::reports {

struct RunContents {
  RunHead head;  // what the document says: kind, verdict; of a benchmark more
  std::vector<StoredVerification> verifications;
  std::vector<StoredTap> taps;
  std::vector<StoredRow> rows;
  std::vector<ProbeResult> probes;
  std::vector<std::pair<std::string, std::string>> facts;
};

// "mlbench 0.1.0 (commit)", as far as it is known.
[[nodiscard]] std::string program_of(const Environment& environment);

// `where` names the document in messages. Throws verify.format or bench.format.
[[nodiscard]] RunContents contents_of(const std::string& document, const std::string& where);

}  // namespace mlbench::reports
