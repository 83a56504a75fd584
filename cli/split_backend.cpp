#include "cli/split_backend.h"

#include <algorithm>
#include <csignal>

#include <fmt/format.h>

#include "backends/parallel/parallel_backend.h"
#include "cli/command.h"
#include "cli/version.h"
#include "core/error.h"
#include "models/parallel_rules.h"

namespace mlbench::cli {
namespace {

// Under a launcher, which ends all when one rank dies: there is a result to be written then.
extern "C" void go_on(int /*signal*/) { (void)::signal(SIGTERM, SIG_DFL); }

}  // namespace

void SplitOptions::add_to(CLI::App& command) {
  constexpr Index kMost = 65536;
  command.add_option("--tp", split.tensor_parallel, "Tensor-parallel shards, each a rank of its own")
      ->check(CLI::Range(Index{1}, kMost))
      ->capture_default_str();
  command.add_option("--pp", split.pipeline_parallel, "Pipeline stages, each of as many ranks as there are shards")
      ->check(CLI::Range(Index{1}, kMost))
      ->capture_default_str();
  command
      .add_option("--micro-batches", micro_batches,
                  "Pieces that the rows of a call are cut into, on which stages work side by side; default: as many as "
                  "stages")
      ->check(CLI::Range(Index{1}, kMost));
}

std::string SplitOptions::command_line() const {
  std::string out;
  if (split.tensor_parallel > 1) out += fmt::format(" --tp {}", split.tensor_parallel);
  if (split.pipeline_parallel > 1) out += fmt::format(" --pp {}", split.pipeline_parallel);
  if (micro_batches > 0) out += fmt::format(" --micro-batches {}", micro_batches);
  return out;
}

SplitBackend::SplitBackend(const std::string& name, const std::string& device, const PluginOptions& plugin)
    : name_(name),
      time_limit_s_(plugin.get().process.time_limit_s),
      given_(parallel::given_rank()),
      launcher_(parallel::find_launcher()),
      one_(make_backend(name, device, plugin)),
      parallel_(parallel::make_parallel_backend(*one_, [this](const Split& split) -> parallel::PartHolders* {
        return on_ranks(split) ? &ranks(split) : nullptr;
      })) {
  if (given_) (void)::signal(SIGTERM, go_on);
}

void SplitBackend::require(const Split& split) const {
  if (!on_ranks(split)) return;
  const std::string asked = fmt::format("--tp {} --pp {}", split.tensor_parallel, split.pipeline_parallel);
  if (launcher_.rank_program.empty() || (!given_ && launcher_.mpirun.empty()))
    throw Error(ErrorKind::unavailable, "parallel.no_ranks", fmt::format("{}: {}", asked, launcher_.why_not));
  if (given_ && given_->size < split.workers())
    throw request_error("parallel.too_few_ranks",
                        fmt::format("{} takes {} ranks, the launcher gave {}: start {} of them", asked, split.workers(),
                                    given_->size, split.workers()));
}

parallel::Ranks& SplitBackend::ranks(const Split& split) {
  require(split);
  auto& ranks = ranks_[given_ ? given_->size : split.workers()];
  if (ranks == nullptr) {
    ranks = parallel::start_ranks(launcher_, {.count = given_ ? given_->size : split.workers(),
                                              .given = given_.has_value(),
                                              .backend = name_,
                                              .version = program_version(),
                                              .time_limit_s = time_limit_s_});
  }
  return *ranks;
}

int SplitBackend::threads_of_rank(const Split& split, int threads) {
  if (!on_ranks(split)) return threads;
  Index most = 1;
  Index fewest = threads;  // processors
  for (const parallel::RankInfo& info : ranks(split).ranks()) {
    most = std::max(most, info.locals);
    fewest = std::min(fewest, info.processors);
  }
  return static_cast<int>(std::clamp<Index>(threads / most, 1, std::max<Index>(1, fewest)));
}

SplitDescription SplitBackend::description(const SplitOptions& options) {
  const Split& split = options.split;
  SplitDescription out{split.tensor_parallel,
                       split.pipeline_parallel,
                       options.micro_batches == 0 ? split.pipeline_parallel : options.micro_batches,
                       {}};
  if (!on_ranks(split)) return out;
  for (Index worker = 0; worker < split.workers(); ++worker)
    out.hosts.push_back(ranks(split).ranks()[static_cast<std::size_t>(worker)].host);
  return out;
}

void require_split(const ModelConfig& config, const Split& split, const std::string& model) {
  if (const auto error = why_not(config, split, model)) throw Error(*error);
}

void become_rank_if_given() {
  const auto given = parallel::given_rank();
  if (given && given->rank > 0) parallel::become_rank(parallel::find_launcher());
}

}  // namespace mlbench::cli
