#include "harness/selftest/parallel_workers.h"

#include <fmt/format.h>

#include "backends/parallel/thread_links.h"
#include "harness/selftest/parallel_group.h"
#include "harness/selftest/parallel_parts.h"
#include "harness/selftest/parallel_steps.h"
#include "harness/selftest/parallel_transport.h"

namespace mlbench::selftest {
namespace {

class PlantedHolders final : public parallel::PartHolders {
 public:
  PlantedHolders(backends::Backend& backend, ParallelPlanted planted, Stages stages)
      : backend_(backend), planted_(std::move(planted)), stages_(stages) {}

  [[nodiscard]] std::string name(Index worker) const override { return fmt::format("worker {}", worker); }

  [[nodiscard]] parallel::LoadedParts load(const Model& model, const backends::RunConfig& run) override {
    const Split split = parallel::split_of(run);
    const Index sums_per_layer = model.config.architecture == Architecture::phi ? 1 : 2;
    links_ = std::make_unique<parallel::ThreadLinks>(run);
    parallel::LoadedParts out;
    for (Index worker = 0; worker < parallel::workers_of(run); ++worker) {
      backends::RunConfig own = parallel::run_of_worker(run, model.config.num_layers, worker);
      const Index place = worker % split.workers();
      own.group = make_lying_group(links_->group(worker), planted_, split, place, sums_per_layer);
      own.transports = links_->transports(worker);
      const auto keys = std::make_shared<UnrotatedKeys>();
      const bool sends = run.disaggregated && worker < split.workers();
      if (sends)
        own.transports =
            make_lying_transports(links_->transports(end_of(planted_, split, worker)), planted_, keys, own.first_layer);
      out.models.push_back(std::make_shared<Model>(wrong_part_of(model, planted_, split, own.shard, own.stage)));
      out.sessions.push_back(session_of(*out.models.back(), own));
      if (sends && planted_.is(ParallelMistake::transfer_keys_unrotated))
        out.sessions.back() = keeping_keys(std::move(out.sessions.back()), keys);
    }
    return out;
  }

  void leave() override { links_->leave(); }

 private:
  [[nodiscard]] std::unique_ptr<backends::Session> session_of(const Model& part, const backends::RunConfig& run) {
    if (stages_ == Stages::by_parts || is_between_parts(planted_))
      return make_stepped_session(backend_, part, run, planted_);
    return backend_.load(part, run);
  }

  backends::Backend& backend_;
  ParallelPlanted planted_;
  Stages stages_;
  std::unique_ptr<parallel::ThreadLinks> links_;
};

}  // namespace

std::unique_ptr<parallel::PartHolders> make_planted_holders(backends::Backend& backend, const ParallelPlanted& planted,
                                                            Stages stages) {
  return std::make_unique<PlantedHolders>(backend, planted, stages);
}

}  // namespace mlbench::selftest
