#include <csignal>

#include "backends/plugin/host.h"
#include "cli/command.h"

namespace mlbench::cli {

void add_plugin_host_command(CLI::App& app, Action& action) {
  struct Options {
    std::string library;
    pid_t parent = 0;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("plugin-host", "The process of a plug-in; started by the program itself");
  command->group("");  // in no listing
  command->add_option("library", options->library)->required();
  command->add_option("parent", options->parent)->required();
  command->callback([options, &action] {
    action = [options]() -> int {
      (void)std::signal(SIGINT, SIG_IGN);  // of the terminal; the program that asks decides
      plugin::host_plugin(options->library, options->parent);
    };
  });
}

}  // namespace mlbench::cli
