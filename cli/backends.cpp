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

BackendChoice choice_of(std::string_view name, std::string_view summary, const backends::Backend& backend) {
  BackendChoice choice{std::string(name), std::string(summary), "", backend.version(), backend.devices()};
  if (choice.devices.empty()) choice.missing = backend.why_none();
  return choice;
}

std::vector<std::string> known_names() {
  std::vector<std::string> names = {std::string(kReference)};
  for (const backends::Entry& entry : backends::built_in()) names.emplace_back(entry.name);
  return names;
}

}  // namespace

std::vector<BackendChoice> known_backends() {
  std::vector<BackendChoice> choices = {choice_of(kReference, "the float64 truth", *harness::make_reference_backend())};
  for (const backends::Entry& entry : backends::built_in()) {
    if (entry.make != nullptr) {
      choices.push_back(choice_of(entry.name, entry.summary, *entry.make()));
    } else {
      choices.push_back({std::string(entry.name),
                         std::string(entry.summary),
                         fmt::format("not part of this build: {}", entry.missing),
                         "",
                         {}});
    }
  }
  return choices;
}

std::unique_ptr<backends::Backend> make_backend(const std::string& name) {
  if (name == kReference) return harness::make_reference_backend();
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
                                                     near_names_hint(name, known_names(), "mlbench list backends")));
}

}  // namespace mlbench::cli
