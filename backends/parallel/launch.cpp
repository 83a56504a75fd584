#include "backends/parallel/launch.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "backends/parallel/rank_protocol.h"
#include "core/error.h"

namespace mlbench::parallel {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kRankProgram = "mlbench-rank";
constexpr double kPatience = 5.0;  // for processes that were asked to end

std::optional<Index> number_in(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr) return std::nullopt;
  char* end = nullptr;
  const long long value = std::strtoll(text, &end, 10);
  if (end == text || *end != 0 || value < 0) return std::nullopt;
  return static_cast<Index>(value);
}

std::string in_path(const char* program) {
  const char* path = std::getenv("PATH");
  std::string folders = path == nullptr ? "" : path;
  for (std::size_t start = 0; start <= folders.size();) {
    const std::size_t end = std::min(folders.find(':', start), folders.size());
    const fs::path candidate = fs::path(folders.substr(start, end - start)) / program;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate.string();
    start = end + 1;
  }
  return "";
}

Error no_ranks(const std::string& why) { return Error(ErrorKind::unavailable, "parallel.no_ranks", why); }

// The environment of ranks, beside what this process has: where to meet, and that Open MPI runs them as it has to here.
std::vector<std::string> environment(const std::string& meeting) {
  std::vector<std::string> out = {fmt::format("{}={}", kMeetingVariable, meeting)};
  // More ranks than cores are the user's wish, and are pinned by themselves. Root is who runs containers. PRTE is what
  // starts ranks from Open MPI 5 on.
  for (const char* setting :
       {"OMPI_MCA_rmaps_base_oversubscribe=1", "OMPI_MCA_hwloc_base_binding_policy=none",
        "PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe", "PRTE_MCA_hwloc_default_binding_policy=none",
        "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"})
    out.emplace_back(setting);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('=') + 1);
    if (std::ranges::none_of(out, [&](const std::string& own) { return own.starts_with(name); }))
      out.emplace_back(text);
  }
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (std::string& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

}  // namespace

std::optional<GivenRank> given_rank() {
  constexpr std::array<std::array<const char*, 2>, 3> kNames = {{{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
                                                                 {"PMI_RANK", "PMI_SIZE"},
                                                                 {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS"}}};
  for (const auto& [rank, size] : kNames) {
    const auto own = number_in(rank), all = number_in(size);
    if (own && all && *own < *all) return GivenRank{*own, *all};
  }
  return std::nullopt;
}

Launcher find_launcher() {
  Launcher out;
  std::error_code failure;
  const fs::path beside = fs::read_symlink("/proc/self/exe", failure).parent_path();
  if (fs::exists(beside / kRankProgram, failure)) out.rank_program = (beside / kRankProgram).string();
  out.mpirun = in_path("mpirun");
  if (out.rank_program.empty()) {
    out.why_not = fmt::format(
        "there is no {} beside the program: builds with MPI have one (apt install libopenmpi-dev)", kRankProgram);
  } else if (out.mpirun.empty()) {
    out.why_not = "there is no mpirun: apt install openmpi-bin";
  }
  return out;
}

LaunchedRanks::LaunchedRanks(const Launcher& launcher, Index count, bool given, const std::string& meeting) {
  std::vector<std::string> words;
  // The rank's program starts mpirun, and ends it when this process ends.
  words = given ? std::vector<std::string>{launcher.rank_program}
                : std::vector<std::string>{launcher.rank_program, "--start", fmt::format("{}", ::getpid()),
                                           launcher.mpirun,       "-n",      fmt::format("{}", count),
                                           launcher.rank_program};
  std::vector<std::string> variables = environment(meeting);
  (void)::prctl(PR_SET_CHILD_SUBREAPER, 1);  // what a launcher leaves behind comes to us
  log_ = ::memfd_create("mlbench-ranks", MFD_CLOEXEC);
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&files, log_, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, log_, STDERR_FILENO);
  const int status = ::posix_spawn(&pid_, launcher.rank_program.c_str(), &files, nullptr, pointers(words).data(),
                                   pointers(variables).data());
  ::posix_spawn_file_actions_destroy(&files);
  if (status == 0) return;
  pid_ = -1;
  ::close(log_);
  throw no_ranks(fmt::format("{}: cannot be started: {}", launcher.rank_program, std::strerror(status)));
}

LaunchedRanks::~LaunchedRanks() {
  finish();
  ::close(log_);
}

void LaunchedRanks::finish() {
  if (!wait(kPatience)) stop();
}

bool LaunchedRanks::ended() {
  if (pid_ >= 0 && ::waitpid(pid_, nullptr, WNOHANG) != 0) pid_ = -1;
  return pid_ < 0;
}

bool LaunchedRanks::wait(double seconds) {
  const auto until = Clock::now() + std::chrono::duration<double>(seconds);
  while (!ended() && Clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  return pid_ < 0;
}

void LaunchedRanks::ask_to_end() const {
  if (pid_ >= 0) ::kill(pid_, SIGTERM);
}

void LaunchedRanks::stop() {
  if (ended()) return;
  ask_to_end();
  if (wait(kPatience)) return;
  ::kill(pid_, SIGKILL);
  (void)::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void LaunchedRanks::bury(pid_t left_behind) {
  // Only what became a child of ours, by PR_SET_CHILD_SUBREAPER, when its parent died.
  if (::waitpid(left_behind, nullptr, WNOHANG) != 0) return;
  ::kill(left_behind, SIGKILL);
  (void)::waitpid(left_behind, nullptr, 0);
}

std::string LaunchedRanks::said() const {
  std::string out;
  std::array<char, 4096> buffer{};
  off_t at = 0;
  for (ssize_t got = 0; (got = ::pread(log_, buffer.data(), buffer.size(), at)) > 0; at += got)
    out.append(buffer.data(), static_cast<std::size_t>(got));
  return out;
}

void become_rank(const Launcher& launcher) {
  if (launcher.rank_program.empty()) throw no_ranks(launcher.why_not);
  char* argv[] = {const_cast<char*>(launcher.rank_program.c_str()), nullptr};  // NOLINT: exec does not write to it
  (void)::execv(launcher.rank_program.c_str(), argv);
  throw no_ranks(fmt::format("{}: cannot be started: {}", launcher.rank_program, std::strerror(errno)));
}

}  // namespace mlbench::parallel
