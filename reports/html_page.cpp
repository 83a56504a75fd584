#include "reports/html_page.h"

#include <fmt/format.h>

#include "reports/assets.h"
#include "reports/figures.h"

namespace mlbench::reports {
namespace {

// Nothing may be fetched, whatever a name on the page says.
constexpr const char* kPolicy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

}  // namespace

std::string html_page(const std::string& title, const std::string& body, const std::string& styles,
                      const nlohmann::ordered_json& data) {
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n"
      "<style>\n{}{}</style>\n</head>\n<body>\n",
      kPolicy, html_text(title), assets::page_css(), styles);
  out += body;
  out += fmt::format(
      "<script type=\"application/json\" id=\"data\">{}</script>\n<script>\n{}</script>\n<script>\n{}</script>\n"
      "</body>\n</html>\n",
      script_json(data), assets::chart_js(), assets::page_js());
  return out;
}

}  // namespace mlbench::reports
