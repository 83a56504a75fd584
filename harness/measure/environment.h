// Where a run takes place, and what of it makes the run's figures doubtful.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/bench_results.h"

namespace mlbench::measure {

struct EnvironmentOptions {
  std::filesystem::path proc = "/proc", sys = "/sys", etc = "/etc";
  int threads = 0;  // that the run is to use at the same time; 0: all processors
};

// Facts that are known, always in the same order; each is one line of at most some 200 bytes, whatever stands in the
// files.
//
//   host, kernel, os               as the system names them
//   cpu, cpus, caches              the processor; how many threads, cores and sockets are online
//   machine, virtual machine       maker and product; by what it shows
//   memory, numa nodes
//   governor, frequency            of all processors; now and at most
//   smt, boost, aslr               on or off
//   load                           averages of 1, 5 and 15 minutes
//   temperature                    the highest
//   core throttles, package throttles        how often heat slowed processors down, as each of them has counted
//   cpu seconds, stolen cpu seconds          of all processors since the start; of these, what went to other guests
//   cpu quota, memory limit, affinity        what the control group and the process may use
//   mlbench, mlbench commit, compiler, build type
//   OMP_NUM_THREADS and others     variables that decide how libraries compute, by name
//
// Warned of: a governor other than performance, a virtual machine, a load that leaves the threads less than they want
// by more than half a processor, fewer processors than threads by quota or affinity, a build that is not optimised.
[[nodiscard]] Environment capture_environment(const EnvironmentOptions& options = {});

// Whether two runs with different values of a fact of capture_environment() measured the same thing all the same: how
// the machine was at the time, or which build of mlbench it was.
[[nodiscard]] bool may_differ(std::string_view fact);

// What happened between the beginning and the end of a run: throttling, processor time that went to other guests (from
// 1% on), a governor or limits that changed.
[[nodiscard]] std::vector<std::string> warnings_between(const Environment& before, const Environment& after);

// Bytes that the caches of all online processors can hold together, on all levels: 0 where that is not known.
[[nodiscard]] std::uint64_t cache_bytes(const EnvironmentOptions& options = {});

}  // namespace mlbench::measure
