#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include <fmt/format.h>

#include "cli/backends.h"
#include "cli/command.h"
#include "cli/interruption.h"
#include "core/child_process.h"
#include "core/error.h"
#include "core/file_map.h"
#include "core/json.h"
#include "core/system_files.h"
#include "harness/qualify/siblings.h"
#include "reports/siblings_report.h"

namespace mlbench::cli {
namespace {

constexpr std::size_t kQuickProcessors = 8;

struct Options {
  std::string backend, like, json;
  PluginOptions plugin;
  double seconds = 0.5;
  bool quick = false;
};

// The processors that this process may use.
std::vector<int> own_processors() {
  return machine::numbers_in_list(machine::field_of(machine::lines_of("/proc/self/status"), "Cpus_allowed_list"));
}

// What is measured of one sibling, and how it is named there.
struct Sibling {
  std::string name;
  std::vector<std::string> options;  // of mlbench probe
};

// Of one kind with the device `like`: those of the same description.
std::vector<Sibling> devices_like(const backends::Backend& backend, const std::string& like) {
  const std::vector<backends::DeviceInfo> all = backend.devices();
  auto own = std::ranges::find(all, like, &backends::DeviceInfo::id);
  if (like.empty()) own = std::ranges::find_if(all, [](const auto& d) { return d.id != backends::kHostExecutor; });
  if (own == all.end())
    throw Error(ErrorKind::unavailable, "backend.unavailable",
                fmt::format("backend {} has no device {}", backend.name(), in_quotes(like)));
  std::vector<Sibling> out;
  for (const backends::DeviceInfo& device : all) {
    if (device.id != backends::kHostExecutor && device.description == own->description)
      out.push_back({device.id, {"--device", device.id}});
  }
  return out;
}

// Every thread of the processor alone; in a hurry, some that stand for all.
std::vector<Sibling> processors(bool quick) {
  std::vector<int> all = own_processors();
  if (quick) all = qualify::spread_over(all, kQuickProcessors);
  std::vector<Sibling> out;
  for (const int cpu : all)
    out.push_back({fmt::format("cpu {}", cpu), {"--threads", "1", "--on-processor", fmt::format("{}", cpu)}});
  return out;
}

class Siblings {
 public:
  explicit Siblings(const Options& options) : options_(options) {
    const auto backend = make_backend(options.backend, options.like, options.plugin);
    out_.backend = backend->name();
    const bool on_processor = options.backend == "cpu";
    siblings_ = on_processor ? processors(options.quick) : devices_like(*backend, options.like);
    out_.kind = on_processor ? "processors" : "devices";
    out_.judged = !on_processor;
    out_.meaning = on_processor ? "each thread of the processor alone, pinned: one that lies apart is slowed down by "
                                  "heat, by its own limits, "
                                  "by others who use it or its core, or is of another kind; told, not judged"
                                : "all devices of this description, one after the other: one that lies apart has other "
                                  "clocks, limits, cooling "
                                  "or links, or is shared with others";
    for (const Sibling& sibling : siblings_) out_.siblings.push_back(sibling.name);
    out_.enough = siblings_.size() >= qualify::kFewestSiblings;
  }

  SiblingResults run() {
    for (std::size_t i = 0; i < siblings_.size() && !interrupted(); ++i) measure(i);
    out_.interrupted = interrupted();
    for (SiblingFigure& figure : out_.figures) {
      figure.values.resize(siblings_.size());
      qualify::find_outliers(out_.siblings, figure);
    }
    out_.command = own_command_line();
    return std::move(out_);
  }

 private:
  void measure(std::size_t index) {
    const Sibling& sibling = siblings_[index];
    const std::string program = std::filesystem::read_symlink("/proc/self/exe");
    std::vector<std::string> words = {
        program,  "probe", "--backend", options_.backend,
        "--json", "-",     "--seconds", fmt::format("{:g}", options_.quick ? options_.seconds / 2 : options_.seconds)};
    if (options_.quick) words.insert(words.end(), {"--dtype", "f32,bf16"});
    words.insert(words.end(), sibling.options.begin(), sibling.options.end());
    for (const std::string& word : options_.plugin.words()) words.push_back(word);
    const ChildOutcome said = run_child(words, {.stop = interrupted});
    if (said.stopped) return;
    try {
      if (!said.fail.empty()) throw std::runtime_error(said.fail);
      if (said.exit_code != 0) throw std::runtime_error(said.err.substr(0, said.err.find('\n')));
      const nlohmann::json result = parse_json(said.out, "the measurement", "qualify.document", "qualify.document");
      for (const nlohmann::json& probe : result.at("probes")) {
        const auto dtype = probe.at("dtype").get<std::string>();
        take(index, dtype + " reads", "B/s", probe.at("read_bytes_per_second"));
        take(index, dtype + " products", "FLOP/s", probe.at("flops_per_second"));
      }
    } catch (const std::exception& error) {
      out_.failed.push_back(fmt::format("{}: {}", sibling.name, error.what()));
    }
  }

  void take(std::size_t index, const std::string& name, const char* unit, const nlohmann::json& value) {
    if (!value.is_number() || value.get<double>() <= 0.0) return;
    auto at = std::ranges::find(out_.figures, name, &SiblingFigure::name);
    if (at == out_.figures.end()) {
      out_.figures.push_back({name, unit, std::vector<std::optional<double>>(siblings_.size()), 0.0, 0.0, {}});
      at = std::prev(out_.figures.end());
    }
    at->values[index] = value.get<double>();
  }

  const Options& options_;
  std::vector<Sibling> siblings_;
  SiblingResults out_;
};

int run(const Options& options) {
  if (!options.json.empty() && options.json != "-") require_writable(options.json);
  note_interruptions();
  const SiblingResults result = Siblings(options).run();
  const std::string json = json_text(reports::to_json(result));
  if (!options.json.empty() && options.json != "-") write_file_whole(options.json, json);
  print(options.json == "-" ? json : reports::to_text(result));
  if (result.interrupted) return kInterrupted;
  return result.passed() ? 0 : 1;
}

}  // namespace

void add_siblings_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("siblings", "Measure all devices of one kind, and name those that differ from the others");
  command->add_option("--backend", options->backend, "cpu: each thread of the processor; or one with devices")
      ->required();
  options->plugin.add_to(*command);
  command->add_option("--like", options->like, "Devices of the same description as this one; the first unless told");
  command->add_option("--seconds", options->seconds, "For each of the measurements")
      ->check(CLI::Range(0.01, 600.0))
      ->capture_default_str();
  command->add_flag("--quick", options->quick, "Half as long, without f16, and at most 8 threads of the processor");
  command->add_option("--json", options->json, "Write the result as JSON to this file; - for standard output")
      ->type_name("FILE");
  command->footer(
      "One that lies apart: further from the median than 3.5 scaled median absolute deviations and than 5% of it; told "
      "from\n"
      "four siblings on.\n"
      "Exit codes: 0 none does, or they are threads of a processor, 1 one does, or could not be measured, 2 the "
      "request is\n"
      "wrong, 3 the backend is not there, 130 interrupted.\n"
      "Example: mlbench siblings --backend cuda");
  command->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace mlbench::cli
