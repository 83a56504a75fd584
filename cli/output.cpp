#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include <fmt/format.h>

#include "cli/command.h"
#include "core/error.h"

namespace mlbench::cli {

void print(const std::string& text) {
  const bool ok = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!ok && errno != EPIPE) {
    throw Error(ErrorKind::internal, "file.unwritable", fmt::format("standard output: {}", std::strerror(errno)));
  }
}

std::string json_text(const nlohmann::ordered_json& json) {
  return json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string own_command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string out, word;
  while (std::getline(file, word, '\0')) out += (out.empty() ? "" : " ") + shell_word(word);
  return out;
}

bool stderr_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }

bool use_color(const std::string& when) {
  if (when != "auto") return when == "always";
  return ::isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
}

}  // namespace mlbench::cli
