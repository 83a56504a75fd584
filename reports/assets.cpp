// The assembler copies the files in; CMake gives their paths, and compiles this again when one changes.
#include "reports/assets.h"

// NOLINTBEGIN(bugprone-macro-parentheses): a name that is declared stands without
#define MLBENCH_INCLUDE_FILE(symbol, path)                                                         \
  asm(".pushsection .rodata\n"                                                                     \
      ".global " #symbol "\n.global " #symbol "_end\n" #symbol ":\n.incbin \"" path "\"\n" #symbol \
      "_end:\n.byte 0\n"                                                                           \
      ".popsection\n");                                                                            \
  extern "C" const char symbol[], symbol##_end[]
// NOLINTEND(bugprone-macro-parentheses)

MLBENCH_INCLUDE_FILE(mlbench_chart_js, MLBENCH_CHART_JS);
MLBENCH_INCLUDE_FILE(mlbench_page_css, MLBENCH_PAGE_CSS);
MLBENCH_INCLUDE_FILE(mlbench_page_js, MLBENCH_PAGE_JS);
MLBENCH_INCLUDE_FILE(mlbench_standard_sweep, MLBENCH_STANDARD_SWEEP);

namespace mlbench::reports::assets {
namespace {

std::string_view between(const char* begin, const char* end) { return {begin, static_cast<std::size_t>(end - begin)}; }

}  // namespace

std::string_view chart_js() { return between(mlbench_chart_js, mlbench_chart_js_end); }
std::string_view page_css() { return between(mlbench_page_css, mlbench_page_css_end); }
std::string_view page_js() { return between(mlbench_page_js, mlbench_page_js_end); }
std::string_view standard_sweep() { return between(mlbench_standard_sweep, mlbench_standard_sweep_end); }

}  // namespace mlbench::reports::assets
