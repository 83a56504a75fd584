// How ranks come to be: started on this machine with mpirun, or given by the mpirun, srun or PBS under which the
// program itself runs.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>

#include "core/tensor.h"

namespace mlbench::parallel {

// What the launcher says in the environment of what it starts: Open MPI, MPICH and those like it, srun.
struct GivenRank {
  Index rank = 0, size = 1;
};
[[nodiscard]] std::optional<GivenRank> given_rank();

// The program of a rank, beside this one: where this build has none, or there is no mpirun to start it, the reason is
// `why_not`, and models are run in one piece.
struct Launcher {
  std::string rank_program;  // path
  std::string mpirun;        // path
  std::string why_not;       // empty: ranks can be started
};
[[nodiscard]] Launcher find_launcher();

// A process with what it starts. Ended with the object, or when this process is.
class LaunchedRanks {
 public:
  // `meeting`: for rank 0. Starts all ranks with mpirun; of given ranks the first, where this process stands.
  LaunchedRanks(const Launcher& launcher, Index count, bool given, const std::string& meeting);
  ~LaunchedRanks();
  LaunchedRanks(const LaunchedRanks&) = delete;
  LaunchedRanks& operator=(const LaunchedRanks&) = delete;

  // Whether it has ended by itself.
  [[nodiscard]] bool ended();
  // Waits for its end for so long; whether it came.
  bool wait(double seconds);
  // Waits for its end for some seconds, then makes it end.
  void finish();
  // Asks it to end.
  void ask_to_end() const;
  // And makes it.
  void stop();
  // Processes of this machine that it started, and that outlive it where it was killed: ends and buries them.
  static void bury(pid_t left_behind);
  // What it and the ranks wrote to their standard error.
  [[nodiscard]] std::string said() const;

 private:
  pid_t pid_ = -1;  // -1: reaped
  int log_ = -1;
};

// Becomes the rank's program, where the launcher has started this process as one that is not the first. Does not return
// then; throws ErrorKind::unavailable, parallel.no_ranks, where this build has no such program.
[[noreturn]] void become_rank(const Launcher& launcher);

}  // namespace mlbench::parallel
