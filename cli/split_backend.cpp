#include "cli/split_backend.h"

#include <algorithm>
#include <csignal>

#include <fmt/format.h>

#include "backends/parallel/parallel_backend.h"
#include "cli/command.h"
#include "cli/parallel_options.h"
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
  command.add_flag("--disagg", disaggregated, kDisaggHelp);
  command
      .add_option("--replicas", replicas,
                  "Models side by side, each of so many ranks; all are asked everything, and must answer the same bits")
      ->check(CLI::Range(Index{1}, kMost))
      ->capture_default_str();
}

backends::RunConfig SplitOptions::run() const {
  return {.tensor_parallel = split.tensor_parallel,
          .pipeline_parallel = split.pipeline_parallel,
          .micro_batches = micro_batches,
          .disaggregated = disaggregated,
          .replicas = replicas};
}

std::string SplitOptions::command_line() const {
  std::string out;
  if (split.tensor_parallel > 1) out += fmt::format(" --tp {}", split.tensor_parallel);
  if (split.pipeline_parallel > 1) out += fmt::format(" --pp {}", split.pipeline_parallel);
  if (micro_batches > 0) out += fmt::format(" --micro-batches {}", micro_batches);
  if (disaggregated) out += " --disagg";
  if (replicas > 1) out += fmt::format(" --replicas {}", replicas);
  return out;
}

SplitBackend::SplitBackend(const std::string& name, const std::string& device, const PluginOptions& plugin)
    : name_(name),
      time_limit_s_(plugin.get().process.time_limit_s),
      given_(parallel::given_rank()),
      launcher_(parallel::find_launcher()),
      one_(make_backend(name, device, plugin)),
      parallel_(
          parallel::make_parallel_backend(*one_, [this](const backends::RunConfig& run) -> parallel::PartHolders* {
            return on_ranks(run) ? &ranks(run) : nullptr;
          })) {
  if (given_) (void)::signal(SIGTERM, go_on);
}

void SplitBackend::require(const backends::RunConfig& run) const {
  if (!on_ranks(run)) return;
  const Index workers = parallel::workers_of(run);
  const std::string replicas = run.replicas > 1 ? fmt::format(" --replicas {}", run.replicas) : std::string();
  const std::string asked = fmt::format("--tp {} --pp {}{}{}", run.tensor_parallel, run.pipeline_parallel,
                                        run.disaggregated ? " --disagg" : "", replicas);
  if (launcher_.rank_program.empty() || (!given_ && launcher_.mpirun.empty()))
    throw Error(ErrorKind::unavailable, "parallel.no_ranks", fmt::format("{}: {}", asked, launcher_.why_not));
  if (given_ && given_->size < workers)
    throw request_error("parallel.too_few_ranks",
                        fmt::format("{} takes {} ranks, the launcher gave {}: start {} of them", asked, workers,
                                    given_->size, workers));
}

parallel::Ranks& SplitBackend::ranks(const backends::RunConfig& run) {
  require(run);
  const Index count = given_ ? given_->size : parallel::workers_of(run);
  auto& ranks = ranks_[count];
  if (ranks == nullptr) {
    ranks = parallel::start_ranks(launcher_, {.count = count,
                                              .given = given_.has_value(),
                                              .backend = name_,
                                              .version = program_version(),
                                              .time_limit_s = time_limit_s_});
  }
  return *ranks;
}

int SplitBackend::threads_of_rank(const backends::RunConfig& run, int threads) {
  if (!on_ranks(run)) return threads;
  Index most = 1;
  Index fewest = threads;  // processors
  for (const parallel::RankInfo& info : ranks(run).ranks()) {
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
                       options.disaggregated,
                       options.replicas,
                       0,
                       {}};
  const backends::RunConfig run = options.run();
  if (!on_ranks(run)) return out;
  out.mapped = ranks(run).take_mapped();
  for (Index worker = 0; worker < parallel::workers_of(run); ++worker)
    out.hosts.push_back(ranks(run).ranks()[static_cast<std::size_t>(worker)].host);
  return out;
}

void require_split(const ModelConfig& config, const backends::RunConfig& run, const std::string& model) {
  if (const auto error = why_not(config, parallel::split_of(run), model)) throw Error(*error);
  if (const auto rule = run.disaggregated ? why_not_apart(config) : std::nullopt)
    throw request_error("parallel.unsupported", fmt::format("{}: --disagg: {}", one_line(model), *rule));
}

void become_rank_if_given() {
  const auto given = parallel::given_rank();
  if (given && given->rank > 0) parallel::become_rank(parallel::find_launcher());
}

}  // namespace mlbench::cli
