// The dashboard as a page: HTML, style sheet, scripts and data. It fetches nothing, and a policy in it forbids what is
// not its own: scripts and styles run by a number that is drawn for each page, which no text of a run can know.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace mlbench::reports::dashboard {

struct PageFile {
  std::string name, text;
};

// To be put into one folder and opened there, from the disk too; index.html is the last.
[[nodiscard]] std::vector<PageFile> page_in_files(const nlohmann::ordered_json& data);
// All in one.
[[nodiscard]] std::string page_in_one(const nlohmann::ordered_json& data);

// Whether a file's text is an index.html of ours.
[[nodiscard]] bool is_ours(const std::string& html);

}  // namespace mlbench::reports::dashboard
