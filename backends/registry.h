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
  std::unique_ptr<Backend> (*make)();  // null: in a library of its own
  std::string_view file;               // of that library, which stands with the program
};

// The reference is not among them: it is the truth, and harness/ shows it as a backend.
[[nodiscard]] std::span<const Entry> built_in();

// Where a library of the program may stand, best first: beside it, in lib/ beside it, in ../lib/mlbench.
[[nodiscard]] std::vector<std::string> library_places(std::string_view file);

}  // namespace mlbench::backends
