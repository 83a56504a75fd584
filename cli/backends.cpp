#include "cli/backends.h"

#include <fmt/format.h>

#include "backends/registry.h"
#include "core/error.h"
#include "core/near_names.h"
#include "harness/reference_backend.h"

namespace mlbench::cli {
namespace {

constexpr std::string_view kReference = "reference";

Error unavailable(const std::string& message) { return Error(ErrorKind::unavailable, "backend.unavailable", message); }

}  // namespace

std::vector<BackendChoice> known_backends() {
  std::vector<BackendChoice> choices = {{std::string(kReference), "the float64 truth", ""}};
  for (const backends::Entry& entry : backends::built_in()) {
    choices.push_back({std::string(entry.name), std::string(entry.summary), std::string(entry.missing)});
  }
  return choices;
}

std::unique_ptr<backends::Backend> make_backend(const std::string& name) {
  if (name == kReference) return harness::make_reference_backend();
  std::vector<std::string> names;
  for (const BackendChoice& choice : known_backends()) names.push_back(choice.name);
  for (const backends::Entry& entry : backends::built_in()) {
    if (entry.name != name) continue;
    if (entry.make == nullptr) {
      throw unavailable(
          fmt::format("backend {} is not part of this build: it was built without {}", name, entry.missing));
    }
    auto backend = entry.make();
    if (backend->devices().empty()) throw unavailable(fmt::format("backend {}: {}", name, backend->why_none()));
    return backend;
  }
  throw request_error("backend.unknown", fmt::format("no backend is called {}{}", in_quotes(name),
                                                     near_names_hint(name, names, "mlbench list backends")));
}

}  // namespace mlbench::cli
