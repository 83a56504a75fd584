// Files of the dashboard that the program carries inside itself.
#pragma once

#include <string_view>

namespace mlbench::reports::dashboard {

[[nodiscard]] std::string_view body_html();  // the body of the page, up to its scripts
[[nodiscard]] std::string_view style_sheet();
[[nodiscard]] std::string_view scripts();  // all of them as one

}  // namespace mlbench::reports::dashboard
