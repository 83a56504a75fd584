#include "backends/parallel/part_holders.h"

#include <fmt/format.h>

#include "backends/parallel/thread_group.h"

namespace mlbench::parallel {
namespace {

class ThreadHolders final : public PartHolders {
 public:
  explicit ThreadHolders(backends::Backend& backend) : backend_(backend) {}

  [[nodiscard]] std::string name(Index worker) const override { return fmt::format("worker {}", worker); }

  [[nodiscard]] LoadedParts load(const Model& model, const backends::RunConfig& run) override {
    const Split split{run.tensor_parallel, run.pipeline_parallel};
    groups_ = std::make_unique<ThreadGroups>(split);
    LoadedParts out;
    out.models.reserve(static_cast<std::size_t>(split.workers()));
    for (Index worker = 0; worker < split.workers(); ++worker) {
      backends::RunConfig own = run_of_worker(run, model.config.num_layers, worker);
      own.group = groups_->of(worker);
      out.models.push_back(part_of(model, split, own.shard, own.stage));
      out.sessions.push_back(backend_.load(out.models.back(), own));
    }
    return out;
  }

  void leave() override { groups_->leave(); }

 private:
  backends::Backend& backend_;
  std::unique_ptr<ThreadGroups> groups_;
};

}  // namespace

std::unique_ptr<PartHolders> make_thread_holders(backends::Backend& backend) {
  return std::make_unique<ThreadHolders>(backend);
}

backends::RunConfig run_of_worker(const backends::RunConfig& run, Index layers, Index worker) {
  backends::RunConfig own = run;
  own.shard = worker % run.tensor_parallel;
  own.stage = worker / run.tensor_parallel;
  own.first_layer = layers_of_stage(layers, run.pipeline_parallel, own.stage).first;
  return own;
}

}  // namespace mlbench::parallel
