// Which format a file of benchmark results is in.
#include <string_view>

#include <fmt/format.h>

#include "core/error.h"
#include "core/json.h"
#include "reports/bench_fields.h"
#include "reports/bench_formats.h"
#include "reports/bench_report.h"

namespace mlbench::reports {
namespace {

using nlohmann::json;

constexpr std::string_view kBlank = " \t\r\n";

json parse(std::string_view text, const std::string& where) {
  return parse_json(text, where, "bench.format", "bench.format");
}

bool is_blank(std::string_view text) { return text.find_first_not_of(kBlank) == std::string_view::npos; }

// JSONL has a whole document in its first line that says something; other JSON may stand in one line, too, but then
// nothing follows.
bool is_jsonl(std::string_view text) {
  text.remove_prefix(text.find_first_not_of(kBlank));
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos || is_blank(text.substr(end))) return false;
  return text.front() == '{' && json::accept(text.substr(0, end));
}

std::vector<LlamaTest> tests_in_lines(std::string_view text, const std::string& where) {
  std::vector<LlamaTest> out;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (is_blank(line)) continue;
    if (out.size() == kMostRows) throw format_error(where, fmt::format("has more than {} tests", kMostRows));
    const std::string path = fmt::format("line {}", number);
    out.push_back({parse(line, fmt::format("{}: {}", where, path)), path});
  }
  return out;
}

std::vector<LlamaTest> tests_in_array(json& array) {
  std::vector<LlamaTest> out;
  for (std::size_t i = 0; i < array.size(); ++i) out.push_back({std::move(array[i]), fmt::format("[{}]", i)});
  return out;
}

}  // namespace

BenchRun read_bench_run(const std::string& bytes, const std::string& path) {
  const std::string where = one_line(path);
  std::string_view text = bytes;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // what PowerShell writes first
  if (is_blank(text)) throw format_error(where, "is empty");
  if (is_jsonl(text)) return run_from_llama_bench(tests_in_lines(text, where), where);
  json document = parse(text, where);
  if (document.is_array()) return run_from_llama_bench(tests_in_array(document), where);
  if (document.is_object()) {
    if (document.contains("format")) return run_from_json(document, where);
    if (document.contains("benchmarks")) return run_from_google_benchmark(document, where);
    if (document.contains("samples_ns")) return run_from_llama_bench({{std::move(document), "line 1"}}, where);
  }
  throw format_error(where,
                     "is no result of mlbench bench (\"format\"), Google Benchmark (\"benchmarks\") or llama-bench "
                     "(\"samples_ns\")");
}

}  // namespace mlbench::reports
