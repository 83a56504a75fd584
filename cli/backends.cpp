#include "cli/backends.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backends/plugin/description.h"
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
  if (!plugin::has_device(choice.devices)) choice.missing = backend.why_none();
  return choice;
}

// The library of an entry that has one.
std::unique_ptr<backends::Backend> open_library_of(const backends::Entry& entry, const plugin::OpenOptions& options) {
  const std::vector<std::string> places = backends::library_places(entry.file);
  for (const std::string& place : places) {
    if (std::filesystem::exists(place)) return plugin::open_plugin(place, options);
  }
  throw unavailable(fmt::format("backend {}: there is no {}", entry.name, fmt::join(places, ", ")));
}

BackendChoice choice_in_library(const backends::Entry& entry) {
  try {
    return choice_of(entry.name, entry.summary, *open_library_of(entry, {}));
  } catch (const Error& error) {
    return {std::string(entry.name), std::string(entry.summary), error.message(), "", {}};
  }
}

std::vector<std::string> known_names() {
  std::vector<std::string> names = {std::string(kReference)};
  for (const backends::Entry& entry : backends::built_in()) names.emplace_back(entry.name);
  return names;
}

Error unknown(const std::string& name) {
  return request_error("backend.unknown",
                       fmt::format("no backend is called {}{}; a library is named by its path, as in ./libx.so",
                                   in_quotes(name), near_names_hint(name, known_names(), "mlbench list backends")));
}

std::unique_ptr<backends::Backend> open_backend(const std::string& name, const plugin::OpenOptions& options) {
  if (name == kReference) return harness::make_reference_backend();
  if (plugin::is_library_path(name)) return plugin::open_plugin(name, options);
  for (const backends::Entry& entry : backends::built_in()) {
    if (entry.name == name) return entry.make != nullptr ? entry.make() : open_library_of(entry, options);
  }
  throw unknown(name);
}

}  // namespace

std::vector<BackendChoice> known_backends() {
  std::vector<BackendChoice> choices = {choice_of(kReference, "the float64 truth", *harness::make_reference_backend())};
  for (const backends::Entry& entry : backends::built_in()) {
    choices.push_back(entry.make != nullptr ? choice_of(entry.name, entry.summary, *entry.make())
                                            : choice_in_library(entry));
  }
  return choices;
}

BackendChoice backend_choice(const std::string& name, const PluginOptions& options) {
  if (plugin::is_library_path(name)) {
    const auto backend = plugin::open_plugin(name, options.get());
    return choice_of(backend->name(), name, *backend);
  }
  for (BackendChoice& choice : known_backends()) {
    if (choice.name == name) return std::move(choice);
  }
  throw unknown(name);
}

void PluginOptions::add_to(CLI::App& command) {
  command.add_flag("--in-process", options_.in_process,
                   "Load a backend's library into this process, for debuggers, not into one of its own");
  command
      .add_option("--time-limit", options_.process.time_limit_s,
                  "Seconds that a backend in a library, or a rank, may take for one call; 0: no limit")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
}

std::vector<std::string> PluginOptions::words() const {
  std::vector<std::string> out;
  if (options_.in_process) out.emplace_back("--in-process");
  if (options_.process.time_limit_s != plugin::ProcessOptions{}.time_limit_s) {
    out.emplace_back("--time-limit");
    out.push_back(fmt::format("{}", options_.process.time_limit_s));
  }
  return out;
}

std::string PluginOptions::command_line() const {
  std::string out;
  for (const std::string& word : words()) out += " " + word;
  return out;
}

std::unique_ptr<backends::Backend> make_backend(const std::string& name, const std::string& device,
                                                const PluginOptions& options) {
  std::unique_ptr<backends::Backend> backend = open_backend(name, options.get());
  const std::vector<backends::DeviceInfo> devices = backend->devices();
  const bool has_host = std::ranges::find(devices, backends::kHostExecutor, &backends::DeviceInfo::id) != devices.end();
  if (plugin::has_device(devices) || (has_host && device == backends::kHostExecutor)) return backend;
  const std::string library = plugin::is_library_path(name) ? fmt::format(" ({})", name) : "";
  throw unavailable(fmt::format("backend {}{}: {}{}", backend->name(), library, backend->why_none(),
                                has_host ? "; --device host runs on the host executor" : ""));
}

}  // namespace mlbench::cli
