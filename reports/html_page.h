// The frame of a page that needs nothing else: it opens offline, and says so to the browser.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace mlbench::reports {

// `body` is markup; `styles` stands beside page.css; `data` is what page.js draws: {"bands": [...], "charts": [...]}.
[[nodiscard]] std::string html_page(const std::string& title, const std::string& body, const std::string& styles,
                                    const nlohmann::ordered_json& data);

}  // namespace mlbench::reports
