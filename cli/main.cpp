#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/version.h"
#include "core/error.h"

namespace {

// CLI11 explains over several lines; the first says what is wrong.
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

int run(int argc, char** argv) {
  CLI::App app("Correctness and benchmark test bench for LLM inference backends", "mlbench");
  app.require_subcommand(1);
  bool version = false;
  app.add_flag("--version", version, "Versions of the program and of what it was built with");
  app.footer(
      "Example: mlbench verify --model CHECKPOINT --golden CHECKPOINT/oracle.h5 --backend reference\n"
      "Every command has --help.");
  mlbench::cli::Action action;
  mlbench::cli::add_list_command(app, action);
  mlbench::cli::add_verify_command(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    mlbench::cli::print(app.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    if (version) {
      mlbench::cli::print(mlbench::cli::version_text());
      return 0;
    }
    fmt::print(stderr, "mlbench: usage: {}; see: mlbench --help\n", first_line(error.what()));
    return mlbench::exit_code(mlbench::ErrorKind::request);
  }
  return action();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const mlbench::Error& error) {
    fmt::print(stderr, "mlbench: {}\n", error.what());
    return mlbench::exit_code(error.kind());
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "mlbench: memory.exceeded: the machine has not enough memory for this\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "mlbench: internal: {}\n", error.what());
  }
  return mlbench::exit_code(mlbench::ErrorKind::internal);
}
