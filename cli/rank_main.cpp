// mlbench-rank: the process of a rank. Started by mlbench, or by the launcher through it; people do not start it.
//
//   mlbench-rank                                a rank; rank 0 knows from its environment where the program listens
//   mlbench-rank --start PARENT PROGRAM ARG...  becomes that program, which ends when PARENT does
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <optional>

#include <fmt/format.h>

#include "backends/parallel/mpi/mpi_group.h"
#include "backends/parallel/rank.h"
#include "backends/plugin/in_process.h"
#include "backends/plugin/library.h"
#include "backends/plugin/open.h"
#include "backends/registry.h"
#include "core/error.h"

namespace mlbench::cli {
namespace {

constexpr unsigned kStartLimit = 120;  // seconds for all ranks to be there

std::unique_ptr<backends::Backend> in_library(const std::string& path) {
  return plugin::make_in_process_backend(plugin::open_library(path));
}

// In this process: what a backend does to a rank happens to the rank alone.
std::unique_ptr<backends::Backend> backend_of_rank(const std::string& name) {
  if (plugin::is_library_path(name)) return in_library(name);
  for (const backends::Entry& entry : backends::built_in()) {
    if (entry.name != name) continue;
    if (entry.make != nullptr) return entry.make();
    for (const std::string& place : backends::library_places(entry.file)) {
      if (std::filesystem::exists(place)) return in_library(place);
    }
  }
  throw Error(ErrorKind::unavailable, "backend.unavailable", fmt::format("backend {}: not on this rank", name));
}

int become(int argc, char** argv) {
  constexpr int kProgram = 3;
  (void)::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (argc <= kProgram || std::to_string(::getppid()) != argv[2]) return 1;  // it died before
  (void)::execv(argv[kProgram], argv + kProgram);
  std::cerr << argv[kProgram] << ": cannot be started: " << std::strerror(errno) << "\n";
  return 1;
}

int serve() {
  const char* meeting = std::getenv(parallel::kMeetingVariable);
  ::alarm(kStartLimit);
  std::optional<parallel::MpiWorld> world(std::in_place);
  const std::string text = world->told_by_first(meeting == nullptr ? "" : meeting);
  ::alarm(0);
  parallel::RankOptions options;
  options.rank = world->rank();
  options.size = world->size();
  options.meeting = parallel::parse_meeting(text);
  options.version = MLBENCH_VERSION;
  options.make_backend = backend_of_rank;
  options.links = parallel::make_mpi_links;
  parallel::serve_as_rank(options);
  ::alarm(5);  // MPI's own end waits for all, of whom some may be gone
  world.reset();
  return 0;
}

int run(int argc, char** argv) {
  try {
    return argc > 1 && std::string_view(argv[1]) == "--start" ? become(argc, argv) : serve();
  } catch (const Error& error) {
    std::cerr << error.code() << ": " << error.message() << "\n";
    return exit_code(error.kind());
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}

}  // namespace
}  // namespace mlbench::cli

int main(int argc, char** argv) { return mlbench::cli::run(argc, argv); }
