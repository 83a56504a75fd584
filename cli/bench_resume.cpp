#include "cli/bench_resume.h"

#include <tuple>

#include <fmt/format.h>

#include "core/error.h"
#include "core/file_map.h"
#include "reports/bench_report.h"

namespace mlbench::cli {
namespace {

// All of a point, on the device and of the model that it names.
std::string key(const BenchPoint& p, std::string_view method) {
  return fmt::format("{} {} {} {} {} {} {} {} {}", describe(p, method), p.architecture, p.device, p.page_size, p.depth,
                     p.tensor_parallel, p.pipeline_parallel, p.disaggregated, p.replicas);
}

}  // namespace

Resumed::Resumed(const std::string& file, const BenchRun& own) {
  if (file.empty()) return;
  const auto differs = [&](const char* what) {
    return request_error("bench.resume", fmt::format("{}: was measured with another {}", file, what));
  };
  run_ = reports::read_bench_run(read_text_file(file, kLargestRun), file);
  for (const auto& [what, before, after] :
       {std::tuple("--precision", run_.precision, own.precision), std::tuple("--max-time", run_.max_time, own.max_time),
        std::tuple("--no-check", run_.checked ? 0.0 : 1.0, own.checked ? 0.0 : 1.0)}) {
    if (before != after) throw differs(what);
  }
  for (const char* fact : {"cpu", "mlbench commit", "backend"}) {
    if (run_.environment.fact(fact) != own.environment.fact(fact)) throw differs(fact);
  }
  for (const BenchRow& row : run_.rows) {
    if (!row.samples.empty() && row.stop != BenchStop::interrupted && row.error.empty())
      whole_.emplace(key(row.point, row.method), &row);
  }
}

const BenchRow* Resumed::find(const PlannedRow& row) const {
  const auto at = whole_.find(key(row.point, backends::name(row.method)));
  return at == whole_.end() ? nullptr : at->second;
}

std::set<std::size_t> Resumed::whole_points(const PlannedSweep& sweep) const {
  std::set<std::size_t> whole, missing;
  for (const PlannedRow& row : sweep.rows) {
    const bool there = !row.unsupported.empty() || find(row) != nullptr;
    (there ? whole : missing).insert(row.number);
  }
  for (const std::size_t number : missing) whole.erase(number);
  return whole;
}

}  // namespace mlbench::cli
