// The backends that this build knows, in one explicit list.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/backend.h"

namespace mlbench::backends {

struct Entry {
  std::string_view name;
  std::string_view summary;            // one line for listings
  std::unique_ptr<Backend> (*make)();  // null: known, but not part of this build
  std::string_view missing;            // then: what it would take
};

// The reference is not among them: it is the truth, and harness/ shows it as a backend.
[[nodiscard]] std::span<const Entry> built_in();

}  // namespace mlbench::backends
