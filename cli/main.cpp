#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/explain.h"
#include "cli/version.h"
#include "core/error.h"
#include "core/near_names.h"

namespace {

// CLI11 explains over several lines; the first says what is wrong.
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// CLI11 says that a command is missing; which one was mistyped helps more.
std::string explain(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> unknown = app.remaining(true);
  if (dynamic_cast<const CLI::RequiredError*>(&error) == nullptr || unknown.empty()) return first_line(error.what());
  const std::vector<CLI::App*> named = app.get_subcommands();
  std::vector<std::string> known;
  for (const CLI::App* command : (named.empty() ? &app : named.front())->get_subcommands({}))
    known.push_back(command->get_name());
  return fmt::format("{} is not known{}", mlbench::in_quotes(unknown.front()),
                     mlbench::near_names_hint(unknown.front(), known, "mlbench --help"));
}

int run(int argc, char** argv) {
  CLI::App app("Correctness and benchmark test bench for LLM inference backends", "mlbench");
  app.require_subcommand(1);
  bool version = false;
  app.add_flag("--version", version, "Versions of the program and of what it was built with");
  std::optional<std::string> code;
  mlbench::cli::add_explain_option(app, code);
  app.footer(
      "Example: mlbench verify --model CHECKPOINT --golden CHECKPOINT/oracle.h5 --backend reference\n"
      "Every command has --help.");
  mlbench::cli::Action action;
  mlbench::cli::add_list_command(app, action);
  mlbench::cli::add_selftest_command(app, action);
  mlbench::cli::add_verify_command(app, action);
  mlbench::cli::add_golden_command(app, action);
  mlbench::cli::add_bench_command(app, action);
  mlbench::cli::add_compare_command(app, action);
  mlbench::cli::add_history_command(app, action);
  mlbench::cli::add_probe_command(app, action);
  mlbench::cli::add_report_command(app, action);
  mlbench::cli::add_soak_command(app, action);
  mlbench::cli::add_siblings_command(app, action);
  mlbench::cli::add_qualify_command(app, action);
  mlbench::cli::add_plugin_host_command(app, action);
  mlbench::cli::add_bench_worker_command(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    mlbench::cli::print(app.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    if (code && app.remaining(true).empty()) return mlbench::cli::explain(*code);
    if (version && app.remaining(true).empty()) {
      mlbench::cli::print(mlbench::cli::version_text());
      return 0;
    }
    fmt::print(stderr, "mlbench: usage: {}; see: mlbench --help\n", mlbench::one_line(explain(app, error)));
    return mlbench::exit_code(mlbench::ErrorKind::request);
  }
  return code ? mlbench::cli::explain(*code) : action();
}

}  // namespace

int main(int argc, char** argv) {
  (void)std::signal(SIGPIPE, SIG_IGN);  // whoever reads may stop early; the verdict stands
  (void)std::signal(SIGXFSZ, SIG_IGN);  // a file beyond the user's limit is one that cannot be written
  try {
    return run(argc, argv);
  } catch (const mlbench::Error& error) {
    fmt::print(stderr, "mlbench: {}\n", mlbench::one_line(error.what()));
    return mlbench::exit_code(error.kind());
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "mlbench: memory.exceeded: the machine has not enough memory for this\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "mlbench: internal: {}\n", mlbench::one_line(error.what()));
  }
  return mlbench::exit_code(mlbench::ErrorKind::internal);
}
