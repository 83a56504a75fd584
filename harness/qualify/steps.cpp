#include "harness/qualify/steps.h"

#include <algorithm>

#include <fmt/format.h>

namespace mlbench::qualify {
namespace {

using Words = std::vector<std::string>;

class Planner {
 public:
  explicit Planner(const StepOptions& options) : o_(options) {}

  std::vector<Step> plan() {
    kernels();
    verify();
    sanitizer();
    measure("probe", [this] { probe(); });
    measure("bench", [this] { bench(); });
    soak();
    measure("siblings", [this] { siblings(); });
    std::erase_if(steps_, [this](const Step& step) {
      return !o_.kinds.empty() && std::ranges::find(o_.kinds, step.kind) == o_.kinds.end();
    });
    return std::move(steps_);
  }

 private:
  [[nodiscard]] std::string in_folder(const std::string& name) const { return o_.folder + "/" + name; }

  // Words that every command of ours begins with: the program, what it is to do, on what.
  [[nodiscard]] Words command(const std::string& what) const {
    Words out = {o_.program, what, "--backend", o_.backend};
    if (!o_.device.empty()) out.insert(out.end(), {"--device", o_.device});
    out.insert(out.end(), o_.plugin.begin(), o_.plugin.end());
    return out;
  }

  void add(const std::string& name, const std::string& kind, Words words, std::vector<std::string> files) {
    const bool document = std::ranges::find(files, name + ".json") != files.end();
    steps_.push_back({name, kind, std::move(words), "", std::move(files), document, false});
  }
  void skip(const std::string& kind, const std::string& why) {
    steps_.push_back({kind, kind, {}, why, {}, false, false});
  }

  // The option `name` with the file of this step.
  void write(Words& words, const std::string& option, const std::string& file) const {
    words.insert(words.end(), {option, in_folder(file)});
  }

  void kernels() {
    if (o_.kernel_tests.empty()) return skip("kernels", o_.why_no_kernels);
    add("kernels", "kernels", {o_.kernel_tests, "--gtest_output=xml:" + in_folder("kernels.xml")}, {"kernels.xml"});
  }

  void verify() {
    for (const std::string& arch : o_.archs) {
      for (const char* type : {"f32", "bf16", "f16"}) {
        if (o_.quick && type == std::string("f16")) continue;
        const std::string name = fmt::format("verify-{}-{}", arch, type);
        Words words = command("verify");
        words.insert(words.end(), {"--arch", arch, "--dtype", type, "--no-store"});
        if (!o_.quick && !o_.on_host()) words.emplace_back("--full");
        write(words, "--json", name + ".json");
        write(words, "--junit", name + ".xml");
        write(words, "--html", name + ".html");
        write(words, "--save-failing", "failing/" + name);
        add(name, "verify", words, {name + ".html", name + ".json", name + ".xml"});
      }
    }
  }

  // Everything is some 50 times slower under it: the small presets, in the everyday run alone. Its exit code is 1 where
  // it finds something, and the program's otherwise.
  void sanitizer() {
    if (o_.sanitizer.empty()) return skip("sanitizer", o_.why_no_sanitizer);
    const Words tools = o_.quick ? Words{"memcheck"} : Words{"memcheck", "racecheck", "synccheck", "initcheck"};
    for (const std::string& tool : tools) {
      for (const std::string& arch : o_.quick ? Words{o_.archs.front()} : o_.archs) {
        const std::string name = fmt::format("{}-{}", tool, arch);
        Words words = {o_.sanitizer, "--tool", tool, "--target-processes", "all", "--error-exitcode", "1"};
        const Words own = command("verify");
        words.insert(words.end(), own.begin(), own.end());
        words.insert(words.end(), {"--arch", arch, "--dtype", "f32", "--mode", "chained", "--inputs", "random",
                                   "--time-limit", "0", "--no-store"});
        write(words, "--json", name + ".json");
        add(name, "sanitizer", words, {name + ".json"});
      }
    }
  }

  template <class Plan>
  void measure(const char* kind, Plan plan) {
    if (o_.on_host()) return skip(kind, "the host executor says nothing of how fast a device is");
    plan();
  }

  void probe() {
    Words words = command("probe");
    if (o_.quick) words.insert(words.end(), {"--dtype", "f32,bf16", "--seconds", "0.3"});
    write(words, "--json", "probe.json");
    add("probe", "probe", words, {"probe.json"});
  }

  void bench() {
    Words words = command("bench");
    words.insert(words.end(), {"--sweep", o_.sweep, "--no-store"});
    if (o_.quick)
      words.insert(words.end(),
                   {"--dtype", "bf16", "--prompt", "128", "--gen", "16", "--batch", "1", "--max-time", "0.5"});
    const std::string name = "bench";
    for (const char* form : {"md", "json", "csv"}) write(words, std::string("--") + form, name + "." + form);
    write(words, "--junit", name + ".xml");
    add(name, name, words, {name + ".md", name + ".json", name + ".csv", name + ".xml"});
    steps_.back().resumes = true;
  }

  void soak() {
    Words words = command("soak");
    if (o_.soak_preset.empty()) {
      words.insert(words.end(), {"--arch", o_.archs.front()});
    } else {
      words.insert(words.end(), {"--preset", o_.soak_preset});
    }
    words.insert(words.end(), {"--dtype", "bf16", "--minutes", fmt::format("{:g}", o_.minutes)});
    write(words, "--json", "soak.json");
    add("soak", "soak", words, {"soak.json"});
  }

  void siblings() {
    Words words = {o_.program, "siblings", "--backend", o_.backend};
    words.insert(words.end(), o_.plugin.begin(), o_.plugin.end());
    if (!o_.device.empty()) words.insert(words.end(), {"--like", o_.device});
    if (o_.quick) words.emplace_back("--quick");
    write(words, "--json", "siblings.json");
    add("siblings", "siblings", words, {"siblings.json"});
  }

  const StepOptions& o_;
  std::vector<Step> steps_;
};

}  // namespace

std::vector<Step> plan_steps(const StepOptions& options) { return Planner(options).plan(); }

}  // namespace mlbench::qualify
