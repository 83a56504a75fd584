#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/child_process.h"
#include "core/error.h"
#include "core/file_map.h"
#include "core/json.h"
#include "core/signature.h"
#include "harness/qualify/steps.h"

namespace mlbench::qualify {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kLargestDocument = std::size_t{1} << 30U;
constexpr std::size_t kFindingLines = 20;
constexpr int kRequestIsWrong = 2, kUnavailable = 3, kInterrupted = 130;

StepVerdict verdict_of(int exit_code) {
  switch (exit_code) {
    case 0: return StepVerdict::passed;
    case 1: return StepVerdict::failed;
    case kUnavailable: return StepVerdict::unsupported;
    default: return StepVerdict::broken;
  }
}

std::string last_lines(const std::string& file, std::size_t count) {
  std::ifstream in(file, std::ios::binary);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  const std::size_t first = lines.size() > count ? lines.size() - count : 0;
  return fmt::format("{}", fmt::join(lines.begin() + static_cast<std::ptrdiff_t>(first), lines.end(), "\n"));
}

void append(const std::string& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary | std::ios::app);
  out << text;
}

// As a person may type it.
std::string shown(const std::vector<std::string>& words) { return fmt::format("{}\n", fmt::join(words, " ")); }

}  // namespace

Runner::Runner(std::string folder, std::string digest, std::function<bool()> interrupted)
    : folder_(std::move(folder)), digest_(std::move(digest)), interrupted_(std::move(interrupted)) {
  for (const char* name : {"logs", "done"}) {
    std::error_code failed;
    fs::create_directories(path(name), failed);
    if (failed)
      throw Error(ErrorKind::internal, "file.unwritable", fmt::format("{}: {}", path(name), failed.message()));
  }
}

// The mark of a step that passed: how long it took, and what it was made of.
bool Runner::done_before(const Step& step, QualificationStep& out) const {
  std::ifstream in(path("done/" + step.name));
  double seconds = 0.0;
  std::string made_of;
  if (!(in >> seconds >> made_of)) return false;
  const bool files = std::ranges::all_of(step.files, [&](const std::string& file) { return fs::exists(path(file)); });
  if (made_of != sha256_of_text(digest_ + shown(step.command)) || !files) return false;
  if (step.has_document) {
    try {
      (void)document(step);
    } catch (const std::exception&) {  // damaged since
      return false;
    }
  }
  out.verdict = StepVerdict::passed;
  out.seconds = seconds;
  out.note = "done before";
  return true;
}

int Runner::run_command(const std::vector<std::string>& command, const std::string& log, QualificationStep& out) {
  const ChildOutcome outcome = run_child(command, {.log = log, .stop = interrupted_});
  if (!outcome.fail.empty()) {
    out.note = fmt::format("{}: {}", command.front(), outcome.fail);
    append(log, out.note + "\n");
  }
  out.verdict =
      outcome.stopped || outcome.exit_code == kInterrupted ? StepVerdict::interrupted : verdict_of(outcome.exit_code);
  return outcome.exit_code;
}

// What an interrupted run has measured is taken over; where that cannot be, from the beginning.
void Runner::execute(const Step& step, QualificationStep& out) {
  const std::string log = path("logs/" + step.name + ".log"), result = path(step.name + ".json");
  write_file_whole(log, shown(step.command));
  const std::string before = result + ".before";
  // Of a run that was killed while it resumed.
  if (step.resumes && !fs::exists(result) && fs::exists(before)) fs::rename(before, result);
  bool partial = false;
  if (step.resumes && fs::exists(result)) {
    try {
      partial = document(step).value("interrupted", false);
    } catch (const std::exception&) {  // what it holds is no result: it is made anew
      partial = false;
    }
  }
  if (partial) {
    fs::rename(result, before);
    std::vector<std::string> resumed = step.command;
    resumed.insert(resumed.end(), {"--resume", before});
    out.exit_code = run_command(resumed, log, out);
    const bool refused = out.exit_code == kRequestIsWrong;
    if (refused || fs::exists(result)) {
      fs::remove(before);
    } else {
      fs::rename(before, result);  // the next run may go on from there
    }
    if (!refused) return;
  }
  // What a run that did not come as far left here is none of this one's.
  for (const std::string& file : step.files) fs::remove(path(file));
  out.exit_code = run_command(step.command, log, out);
}

QualificationStep Runner::run(const Step& step) {
  QualificationStep out{.name = step.name, .command = step.command, .note = step.why_skipped};
  const std::string mark = path("done/" + step.name), log = "logs/" + step.name + ".log";
  if (step.command.empty()) {
    out.verdict = StepVerdict::skipped;
    return out;
  }
  if (!done_before(step, out)) {
    if (interrupted_()) return out;
    fs::remove(mark);
    const Clock::time_point start = Clock::now();
    execute(step, out);
    out.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (out.verdict == StepVerdict::passed) {
      write_file_whole(mark, fmt::format("{:.3f} {}\n", out.seconds, sha256_of_text(digest_ + shown(step.command))));
    } else {
      out.finding = last_lines(path(log), kFindingLines);
    }
  }
  for (const std::string& file : step.files) {
    if (fs::exists(path(file))) out.files.push_back(file);
  }
  out.files.push_back(log);
  return out;
}

nlohmann::ordered_json Runner::document(const Step& step) const {
  const std::string file = path(step.name + ".json");
  return parse_json(read_text_file(file, kLargestDocument), file, "qualify.document", "qualify.document");
}

}  // namespace mlbench::qualify
