#include "cli/golden.h"

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::cli {

golden::HfGolden read_hf_golden(golden::GoldenFile& file) {
  golden::HfGolden hf = golden::read_hf_layout(file);
  if (!hf.results.empty() || hf.batch_prefill_logits != nullptr) return hf;
  throw request_error("golden.format", fmt::format("{}: is no golden: of none of its {} datasets a tap is known",
                                                   file.path(), file.info().datasets.size()));
}

std::string bytes_text(std::uint64_t bytes) {
  auto value = static_cast<double>(bytes);
  for (const char* unit : {"B", "kB", "MB", "GB"}) {
    if (value < 1000.0) return fmt::format("{:.{}f} {}", value, *unit == 'B' ? 0 : 1, unit);
    value /= 1000.0;
  }
  return fmt::format("{:.1f} TB", value);
}

std::string cell_text(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return one_line(text);
  std::size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;  // not within a character
  return one_line(text.substr(0, end)) + "...";
}

void add_golden_command(CLI::App& app, Action& action) {
  CLI::App* golden = app.add_subcommand("golden", "Golden files: make, info, diff, check");
  golden->require_subcommand(1);
  add_golden_make(*golden, action);
  add_golden_info(*golden, action);
  add_golden_diff(*golden, action);
  add_golden_check(*golden, action);
  golden->footer("Example: mlbench golden info CHECKPOINT/oracle.h5");
}

}  // namespace mlbench::cli
