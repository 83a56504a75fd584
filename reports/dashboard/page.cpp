#include "reports/dashboard/page.h"

#include <random>

#include <fmt/format.h>

#include "reports/assets.h"
#include "reports/dashboard/assets.h"
#include "reports/figures.h"

namespace mlbench::reports::dashboard {
namespace {

using nlohmann::ordered_json;

constexpr const char* kGenerator = R"(<meta name="generator" content="mlbench report">)";

std::string drawn_number() {
  std::random_device device;
  std::string out;
  for (int i = 0; i < 4; ++i) out += fmt::format("{:08x}", device());
  return out;
}

std::string head(const std::string& nonce, const std::string& style) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'nonce-{0}'; "
      "script-src 'nonce-{0}'; base-uri 'none'; form-action 'none'\">\n{1}\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>mlbench: history of runs</title>\n{2}</head>\n",
      nonce, kGenerator, style);
}

// A literal of JavaScript; JSON.parse reads it faster than a script of the same values is compiled.
std::string data_script(const ordered_json& data) {
  std::string out = "const mlbenchData = JSON.parse('";
  for (const char c : script_json(data)) {
    if (c == '\\' || c == '\'') out += '\\';
    out += c;
  }
  return out + "');\n";
}

}  // namespace

std::vector<PageFile> page_in_files(const ordered_json& data) {
  const std::string nonce = drawn_number();
  std::vector<PageFile> files = {{"chart.js", std::string(assets::chart_js())},
                                 {"dashboard.css", std::string(style_sheet())},
                                 {"dashboard.js", std::string(scripts())},
                                 {"data.js", data_script(data)}};
  const auto script = [&](const char* file) {
    return fmt::format("<script src=\"{}\" nonce=\"{}\"></script>\n", file, nonce);
  };
  const std::string style = fmt::format("<link rel=\"stylesheet\" href=\"dashboard.css\" nonce=\"{}\">\n", nonce);
  files.push_back({"index.html", head(nonce, style) + std::string(body_html()) + script("chart.js") +
                                     script("data.js") + script("dashboard.js") + "</body>\n</html>\n"});
  return files;
}

std::string page_in_one(const ordered_json& data) {
  const std::string nonce = drawn_number();
  const auto script = [&](std::string_view text) {
    return fmt::format("<script nonce=\"{}\">\n{}</script>\n", nonce, text);
  };
  const std::string style = fmt::format("<style nonce=\"{}\">\n{}</style>\n", nonce, style_sheet());
  return head(nonce, style) + std::string(body_html()) + script(assets::chart_js()) + script(data_script(data)) +
         script(scripts()) + "</body>\n</html>\n";
}

bool is_ours(const std::string& html) { return html.find(kGenerator) != std::string::npos; }

}  // namespace mlbench::reports::dashboard
