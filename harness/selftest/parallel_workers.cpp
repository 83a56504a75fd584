#include "harness/selftest/parallel_workers.h"

#include <fmt/format.h>

#include "backends/parallel/thread_group.h"
#include "harness/selftest/parallel_group.h"
#include "harness/selftest/parallel_parts.h"
#include "harness/selftest/parallel_steps.h"

namespace mlbench::selftest {
namespace {

class PlantedHolders final : public parallel::PartHolders {
 public:
  PlantedHolders(backends::Backend& backend, ParallelPlanted planted, Stages stages)
      : backend_(backend), planted_(std::move(planted)), stages_(stages) {}

  [[nodiscard]] std::string name(Index worker) const override { return fmt::format("worker {}", worker); }

  [[nodiscard]] parallel::LoadedParts load(const Model& model, const backends::RunConfig& run) override {
    const Split split{run.tensor_parallel, run.pipeline_parallel};
    const Index sums_per_layer = model.config.architecture == Architecture::phi ? 1 : 2;
    groups_ = std::make_unique<parallel::ThreadGroups>(split);
    parallel::LoadedParts out;
    out.models.reserve(static_cast<std::size_t>(split.workers()));
    for (Index worker = 0; worker < split.workers(); ++worker) {
      backends::RunConfig own = parallel::run_of_worker(run, model.config.num_layers, worker);
      own.group = make_lying_group(groups_->of(worker), planted_, split, worker, sums_per_layer);
      out.models.push_back(wrong_part_of(model, planted_, split, own.shard, own.stage));
      out.sessions.push_back(session_of(out.models.back(), own));
    }
    return out;
  }

  void leave() override { groups_->leave(); }

 private:
  [[nodiscard]] std::unique_ptr<backends::Session> session_of(const Model& part, const backends::RunConfig& run) {
    if (stages_ == Stages::by_parts || is_between_parts(planted_))
      return make_stepped_session(backend_, part, run, planted_);
    return backend_.load(part, run);
  }

  backends::Backend& backend_;
  ParallelPlanted planted_;
  Stages stages_;
  std::unique_ptr<parallel::ThreadGroups> groups_;
};

}  // namespace

std::unique_ptr<parallel::PartHolders> make_planted_holders(backends::Backend& backend, const ParallelPlanted& planted,
                                                            Stages stages) {
  return std::make_unique<PlantedHolders>(backend, planted, stages);
}

}  // namespace mlbench::selftest
