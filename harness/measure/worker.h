// Another build of the program that runs the same points in a process of its own, asked for one repetition at a time: a
// line of JSON each way, over its standard input and output.
//
//   {"repeat": 3}   {"times": [{"seconds": 0.1, "steps": [0.05, 0.05], "joules": null}, ...]}
//   {"check": 3}    {"verified": [{"check": "passed", "ratio": 0.2, "text": "..."}, ...]}
//   {"peak": true}  {"peak": 123456}
//   {"release": true}  {}
//
// or {"error": {"code": "...", "message": "..."}}. Its first line is {"worker": 1, "points": n, "version": "..."}.
#pragma once

#include <sys/types.h>

#include <cstdio>
#include <iosfwd>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "harness/measure/measure.h"

namespace mlbench::measure {

// The program's side.
class WorkerContender final : public Contender {
 public:
  // Starts `command` (a program and its arguments). Throws bench.worker (unavailable) where it cannot be started or
  // does not announce `points` points.
  WorkerContender(std::vector<std::string> command, std::size_t points);
  ~WorkerContender() override;
  WorkerContender(const WorkerContender&) = delete;
  WorkerContender& operator=(const WorkerContender&) = delete;

  std::vector<TimedMethod> repeat(std::size_t point) override;
  std::vector<Verified> check(std::size_t point) override;
  std::uint64_t peak_memory() override;
  void release() override;
  // Of the program.
  [[nodiscard]] const std::string& version() const { return version_; }

 private:
  nlohmann::json ask(const nlohmann::json& request);
  [[nodiscard]] std::string next_line();
  [[nodiscard]] Error lost(const std::string& why) const;

  std::string program_;
  std::string version_;
  pid_t pid_ = -1;
  std::FILE* to_ = nullptr;
  std::FILE* from_ = nullptr;
};

// The worker's side: answers until its input ends.
void serve(Contender& contender, std::size_t points, const std::string& version, std::istream& in, std::ostream& out);

}  // namespace mlbench::measure
