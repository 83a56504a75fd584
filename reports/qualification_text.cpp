#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "reports/figures.h"
#include "reports/qualification_report.h"
#include "reports/table.h"

namespace mlbench::reports {

std::string verdict_text(const Qualification& q) {
  return q.interrupted ? "interrupted" : q.passed() ? "passed" : "failed";
}

std::string counts_text(const Qualification& q) {
  std::vector<std::string> parts;
  for (const StepVerdict verdict :
       {StepVerdict::passed, StepVerdict::failed, StepVerdict::unsupported, StepVerdict::broken, StepVerdict::skipped,
        StepVerdict::interrupted, StepVerdict::not_run}) {
    if (const int count = q.count(verdict); count > 0) parts.push_back(fmt::format("{} {}", count, name(verdict)));
  }
  return parts.empty() ? "no step" : fmt::format("{}", fmt::join(parts, ", "));
}

std::string findings_text(const Qualification& q) {
  std::string out;
  for (const QualificationStep& step : q.steps) {
    if (!step.finding.empty())
      out += fmt::format("==== {}: {}\n{}\n\n", step.name, name(step.verdict), clean_text(step.finding));
  }
  return out;
}

std::string to_text(const Qualification& q) {
  Table table(
      {{"step", Align::left}, {"verdict", Align::left}, {"seconds", Align::right}, {"file, or why", Align::left}});
  for (const QualificationStep& step : q.steps) {
    const bool ran = step.verdict != StepVerdict::skipped && step.verdict != StepVerdict::not_run;
    const std::string file = step.files.empty() ? "" : step.files.front();
    table.add({step.name, std::string(name(step.verdict)), ran ? fmt::format("{:.1f}", step.seconds) : "",
               clean_text(step.note.empty() ? file
                          : file.empty()    ? step.note
                                            : fmt::format("{} ({})", file, step.note))});
  }
  return fmt::format("{}\n{}{}{}, {}\n\n{}\n{}: {}\n", clean_text(q.program), clean_text(q.backend),
                     q.version.empty() ? "" : " " + clean_text(q.version), q.quick ? ", quick" : "",
                     clean_text(fmt::format("device {} ({})", q.device, q.description)), table.text(), verdict_text(q),
                     counts_text(q));
}

}  // namespace mlbench::reports
