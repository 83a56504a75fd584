#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backends/plugin/description.h"
#include "backends/registry.h"
#include "cli/backends.h"
#include "cli/command.h"
#include "cli/interruption.h"
#include "cli/version.h"
#include "core/error.h"
#include "core/file_map.h"
#include "core/near_names.h"
#include "harness/measure/environment.h"
#include "harness/qualify/inventory.h"
#include "harness/qualify/steps.h"
#include "models/config.h"
#include "models/presets.h"
#include "reports/assets.h"
#include "reports/manifest.h"
#include "reports/qualification_report.h"

namespace mlbench::cli {
namespace {

namespace fs = std::filesystem;

constexpr double kQuickMinutes = 0.5, kMinutes = 30.0;
constexpr double kMostMinutes = 100000.0;

struct Options {
  std::string backend, device, output, sign, check, key, preset;
  std::vector<std::string> archs, steps;
  PluginOptions plugin;
  bool quick = false;
  double minutes = 0.0;
};

std::string now() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

void say(const std::string& text) { fmt::print(stderr, "mlbench: {}\n", one_line(text)); }

// ---- what was asked for ----

std::vector<std::string> known_archs() {
  std::vector<std::string> out;
  for (const Architecture architecture : kArchitectures) out.emplace_back(name(architecture));
  return out;
}

void require_known(const char* option, const std::vector<std::string>& given, const std::vector<std::string>& known) {
  for (const std::string& text : given) {
    if (std::ranges::find(known, text) == known.end())
      throw request_error("usage", fmt::format("{}: {} is not known{}", option, in_quotes(text),
                                               near_names_hint(text, known, "mlbench qualify --help")));
  }
}

void check(const Options& options) {
  if (!options.check.empty()) {
    if (!options.backend.empty() || !options.output.empty() || !options.sign.empty())
      throw request_error("usage", "--check: stands alone, or with --key");
    return;
  }
  if (!options.key.empty())
    throw request_error("usage", "--key: is for --check; to sign, --sign names the private key");
  if (options.backend.empty())
    throw request_error("usage", "qualify: name a backend with --backend, or a folder with --check");
  require_known("--arch", options.archs, known_archs());
  require_known("--steps", options.steps, {std::begin(qualify::kStepKinds), std::end(qualify::kStepKinds)});
  if (!options.preset.empty()) (void)preset_config(options.preset);
}

int check_folder(const Options& options) {
  std::optional<PublicKey> key;
  if (!options.key.empty()) key = PublicKey::read(options.key);
  const reports::ManifestCheck result = reports::check_manifest(options.check, key ? &*key : nullptr);
  print(reports::to_text(result, options.check));
  return result.intact() ? 0 : 1;
}

// "qualification-cuda-0", in the current folder.
std::string default_output(const Options& options) {
  std::string out = options.device.empty() ? fs::path(options.backend).filename().string() : options.device;
  for (char& c : out) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_';
    if (!plain) c = '-';
  }
  return "qualification-" + out;
}

// ---- what is there ----

backends::DeviceInfo device_of(const backends::Backend& backend, const std::string& id) {
  const std::vector<backends::DeviceInfo> all = backend.devices();
  auto found = std::ranges::find(all, id, &backends::DeviceInfo::id);
  if (id.empty()) found = std::ranges::find_if(all, [](const auto& d) { return d.id != backends::kHostExecutor; });
  if (found != all.end()) return *found;
  std::vector<std::string> ids;
  for (const backends::DeviceInfo& device : all) ids.push_back(device.id);
  throw Error(
      ErrorKind::unavailable, "backend.unavailable",
      fmt::format("backend {} has no device {}; it has {}", backend.name(), in_quotes(id), fmt::join(ids, ", ")));
}

// A program of our tests beside this one (in a bundle), or where the build has put it.
std::string test_program(const fs::path& program, const std::string& name) {
  for (const fs::path& folder : {program.parent_path() / "tests", program.parent_path() / "../tests/backends"}) {
    std::error_code none;
    for (fs::recursive_directory_iterator at(folder, none), end; !none && at != end; at.increment(none)) {
      if (at->path().filename() == name && at->is_regular_file()) return fs::canonical(at->path()).string();
    }
  }
  return "";
}

std::string compute_sanitizer() {
  const char* path = std::getenv("PATH");
  std::string folders = fmt::format("{}:/usr/local/cuda/bin", path == nullptr ? "" : path);
  for (std::size_t at = 0; at < folders.size();) {
    const std::size_t end = std::min(folders.find(':', at), folders.size());
    const fs::path tool = fs::path(folders.substr(at, end - at)) / "compute-sanitizer";
    std::error_code none;
    if (fs::is_regular_file(tool, none)) return tool.string();
    at = end + 1;
  }
  return "";
}

void find_kernel_tests(qualify::StepOptions& steps) {
  if (steps.backend != "cuda" && steps.backend != "rocm") {
    steps.why_no_kernels =
        fmt::format("backend {} has no kernels that are tested by themselves: verify checks each tap",
                    fs::path(steps.backend).filename().string());
    return;
  }
  const std::string name = steps.on_host() ? "gpu_kernels_test" : steps.backend + "_device_test";
  steps.kernel_tests = test_program(steps.program, name);
  steps.why_no_kernels =
      fmt::format("no program {}: this was built without the vendor's toolkit, or without tests", name);
}

void find_sanitizer(qualify::StepOptions& steps) {
  if (steps.backend != "cuda" || steps.on_host()) {
    steps.why_no_sanitizer = "compute-sanitizer is for CUDA devices";
    return;
  }
  steps.sanitizer = compute_sanitizer();
  steps.why_no_sanitizer =
      "there is no compute-sanitizer on PATH or in /usr/local/cuda/bin (it comes with the toolkit)";
}

// ---- the run ----

class Run {
 public:
  Run(const Options& options, const SigningKey* key) : options_(options), key_(key) {
    const auto backend = make_backend(options.backend, options.device, options.plugin);
    const backends::DeviceInfo device = device_of(*backend, options.device);
    out_.backend = backend->name();
    out_.version = backend->version();
    out_.device = device.id;
    out_.description = device.description;
    folder_ =
        fs::absolute(options.output.empty() ? default_output(options) : options.output).lexically_normal().string();
    std::error_code failed;
    fs::create_directories(folder_, failed);
    if (failed) throw Error(ErrorKind::internal, "file.unwritable", fmt::format("{}: {}", folder_, failed.message()));
    require_writable(in_folder("report.json"));
  }

  int run() {
    reports::remove_manifest(folder_);  // nothing is promised of what is being changed
    note_interruptions();
    describe();
    const std::vector<qualify::Step> steps = qualify::plan_steps(step_options());
    // A step that is done with the same program in the same place is not done again.
    qualify::Runner runner(folder_, digest_of_program(), interrupted);
    for (const qualify::Step& step : steps) perform(runner, step);
    out_.interrupted = interrupted();
    out_.finished = now();
    write();
    print(reports::to_text(out_));
    print(fmt::format("{}/report.html\n", folder_));
    if (out_.interrupted) {
      say("interrupted; the same command goes on where this one was");
      return kInterrupted;
    }
    return out_.passed() ? 0 : 1;
  }

 private:
  [[nodiscard]] std::string in_folder(const std::string& name) const { return folder_ + "/" + name; }

  void describe() {
    out_.started = now();
    out_.command = own_command_line();
    out_.quick = options_.quick;
    const Environment environment = measure::capture_environment();
    out_.program = fmt::format("mlbench {}, commit {}", program_version(), environment.fact("mlbench commit"));
    out_.inventory = {
        {"backend", out_.backend + " " + out_.version}, {"device", out_.device}, {"described as", out_.description}};
    for (const auto& facts :
         {qualify::device_facts(options_.backend, out_.device), environment.facts, qualify::machine_facts()})
      out_.inventory.insert(out_.inventory.end(), facts.begin(), facts.end());
    out_.warnings = environment.warnings;
    std::string text = version_text() + "\n";
    for (const auto& [fact, value] : out_.inventory) text += fmt::format("{}: {}\n", fact, value);
    write_file_whole(in_folder("machine.txt"), text + qualify::tool_outputs(options_.backend, library()));
  }

  // Of a backend that lies in one.
  [[nodiscard]] std::string library() const {
    if (plugin::is_library_path(options_.backend)) return options_.backend;
    for (const backends::Entry& entry : backends::built_in()) {
      if (entry.name != options_.backend || entry.make != nullptr) continue;
      for (const std::string& place : backends::library_places(entry.file)) {
        if (fs::exists(place)) return place;
      }
    }
    return "";
  }

  [[nodiscard]] std::string digest_of_program() const {
    const std::string of_library = library().empty() ? "" : sha256_of_file(library());
    return sha256_of_file(program_) + of_library + folder_;
  }

  qualify::StepOptions step_options() {
    qualify::StepOptions steps;
    steps.program = program_;
    steps.backend = options_.backend;
    // Ranks and children look from where they stand.
    if (plugin::is_library_path(options_.backend)) steps.backend = fs::absolute(options_.backend).string();
    steps.device = options_.device;
    steps.archs = options_.archs.empty() ? known_archs() : options_.archs;
    steps.quick = options_.quick;
    steps.minutes = options_.minutes > 0.0 ? options_.minutes : options_.quick ? kQuickMinutes : kMinutes;
    steps.soak_preset = options_.preset;
    steps.folder = folder_;
    steps.sweep = in_folder("points.json");
    steps.kinds = options_.steps;
    steps.plugin = options_.plugin.words();
    find_kernel_tests(steps);
    find_sanitizer(steps);
    write_file_whole(steps.sweep, std::string(reports::assets::standard_sweep()));
    return steps;
  }

  void perform(qualify::Runner& runner, const qualify::Step& step) {
    if (!step.command.empty() && !interrupted()) say(step.name + " ...");
    QualificationStep done = runner.run(step);
    const bool ran = done.verdict != StepVerdict::skipped && done.verdict != StepVerdict::not_run;
    if (ran && step.has_document && fs::exists(in_folder(step.name + ".json"))) {
      try {
        out_.documents.emplace(step.name, runner.document(step));
      } catch (const Error& error) {
        done.note = error.what();
        if (done.verdict == StepVerdict::passed) done.verdict = StepVerdict::broken;
      }
    }
    say(fmt::format("{:<28} {}{}", step.name, name(done.verdict),
                    done.note.empty() ? "" : fmt::format(" ({})", done.note)));
    out_.steps.push_back(std::move(done));
  }

  void write() {
    write_file_whole(in_folder("report.json"), json_text(reports::to_json(out_)));
    write_file_whole(in_folder("report.html"), reports::to_html(out_));
    write_file_whole(in_folder("summary.txt"), reports::to_text(out_));
    const std::string findings = reports::findings_text(out_);
    if (findings.empty()) {
      fs::remove(in_folder("findings.txt"));
    } else {
      write_file_whole(in_folder("findings.txt"), findings);
    }
    reports::write_manifest(folder_,
                            {fmt::format("{}, {}", out_.program, out_.finished),
                             fmt::format("backend {}, device {}{}: {}", out_.backend, out_.device,
                                         out_.quick ? ", quick" : "", reports::verdict_text(out_))},
                            key_);
  }

  const Options& options_;
  const SigningKey* key_;
  const std::string program_ = fs::read_symlink("/proc/self/exe").string();
  std::string folder_;
  Qualification out_;
};

int run(const Options& options) {
  check(options);
  if (!options.check.empty()) return check_folder(options);
  std::optional<SigningKey> key;  // now, not after an hour
  if (!options.sign.empty()) key = SigningKey::read(options.sign);
  return Run(options, key ? &*key : nullptr).run();
}

}  // namespace

void add_qualify_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "qualify", "Everything for one device, in one report to hand on; and the check of such a report");
  command->add_option("--backend", options->backend,
                      "cpu, cuda, rocm (mlbench list backends), or the path of a library");
  options->plugin.add_to(*command);
  command->add_option("--device", options->device,
                      "Device of the backend (mlbench list devices); host: its kernels on the processor, nothing is "
                      "measured");
  command->add_flag("--quick", options->quick, "Fewer types, shorter plans, few points, half a minute under load");
  command->add_option("--arch", options->archs, "Some of the architectures, separated by commas; default: all")
      ->delimiter(',')
      ->type_name("ARCH");
  command
      ->add_option("--steps", options->steps,
                   "Some of the kinds of steps, separated by commas: kernels, verify, sanitizer, probe, bench, soak, "
                   "siblings; default: all")
      ->delimiter(',')
      ->type_name("STEP");
  command->add_option("--minutes", options->minutes, "Under load; default 30, with --quick 0.5")
      ->check(CLI::Range(0.0, kMostMinutes));
  command->add_option("--soak-preset", options->preset,
                      "Model of the soak (mlbench list presets); default: the small one of the first architecture");
  command
      ->add_option(
          "-o,--output", options->output,
          "Folder of the results; default: qualification-DEVICE. Steps that passed there with the same program and "
          "options are not done again")
      ->type_name("DIR");
  command->add_option("--sign", options->sign, "Sign the results with this Ed25519 key (a private key in PEM)")
      ->type_name("KEY");
  command->add_option("--check", options->check, "Check results that someone handed on: what was changed since")
      ->type_name("DIR");
  command->add_option("--key", options->key, "With --check: the public key of whom must have signed them")
      ->type_name("PUBLIC");
  command->footer(
      "Exit codes: 0 every step passed, or was skipped with a reason; with --check, nothing was changed. 1 one did "
      "not; with\n"
      "--check, what was changed is named. 2 the request is wrong, 3 the device is not there, 130 interrupted: the "
      "same\n"
      "command goes on where it was.\n"
      "Example: mlbench qualify --backend cpu --quick -o q\n"
      "         openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout -out public.pem\n"
      "         mlbench qualify --backend cuda --sign key.pem -o q\n"
      "         mlbench qualify --check q --key public.pem");
  command->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace mlbench::cli
