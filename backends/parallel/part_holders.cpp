#include "backends/parallel/part_holders.h"

#include <fmt/format.h>

#include "backends/parallel/thread_links.h"

namespace mlbench::parallel {
namespace {

class ThreadHolders final : public PartHolders {
 public:
  explicit ThreadHolders(backends::Backend& backend) : backend_(backend) {}

  [[nodiscard]] std::string name(Index worker) const override { return fmt::format("worker {}", worker); }

  [[nodiscard]] LoadedParts load(const Model& model, const backends::RunConfig& run) override {
    const Split split = split_of(run);
    links_ = std::make_unique<ThreadLinks>(run);
    LoadedParts out;
    for (Index worker = 0; worker < workers_of(run); ++worker) {
      backends::RunConfig own = run_of_worker(run, model.config.num_layers, worker);
      own.group = links_->group(worker);
      own.transports = links_->transports(worker);
      out.models.push_back(std::make_shared<Model>(part_of(model, split, own.shard, own.stage)));
      out.sessions.push_back(backend_.load(*out.models.back(), own));
    }
    return out;
  }

  void leave() override { links_->leave(); }

 private:
  backends::Backend& backend_;
  std::unique_ptr<ThreadLinks> links_;
};

}  // namespace

std::unique_ptr<PartHolders> make_thread_holders(backends::Backend& backend) {
  return std::make_unique<ThreadHolders>(backend);
}

Split split_of(const backends::RunConfig& run) { return {run.tensor_parallel, run.pipeline_parallel}; }

Index workers_of_instance(const backends::RunConfig& run) { return split_of(run).workers() * run.replicas; }
Index workers_of(const backends::RunConfig& run) { return workers_of_instance(run) * (run.disaggregated ? 2 : 1); }

backends::RunConfig run_of_worker(const backends::RunConfig& run, Index layers, Index worker) {
  backends::RunConfig own = run;
  const Index place = worker % split_of(run).workers();
  own.shard = place % run.tensor_parallel;
  own.stage = place / run.tensor_parallel;
  own.first_layer = layers_of_stage(layers, run.pipeline_parallel, own.stage).first;
  return own;
}

}  // namespace mlbench::parallel
