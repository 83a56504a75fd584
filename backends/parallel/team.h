// The workers of one loaded model as a whole: asks all of them, and says who failed or differs.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "backends/parallel/crew.h"
#include "backends/parallel/part_holders.h"

namespace mlbench::parallel {

// Replica after replica, each split alike and numbered stage by stage.
struct TeamShape {
  Split split;
  Index replicas = 1;
  Index first = 0;  // the number that the holders give to the first worker

  [[nodiscard]] Index workers() const { return split.workers() * replicas; }
};

class Team {
 public:
  Team(ModelConfig config, const TeamShape& shape, LoadedParts loaded, PartHolders& holders);

  [[nodiscard]] const ModelConfig& config() const { return config_; }
  [[nodiscard]] const Split& split() const { return shape_.split; }
  [[nodiscard]] Index replicas() const { return shape_.replicas; }
  [[nodiscard]] Index workers() const { return shape_.workers(); }
  [[nodiscard]] LayerRange layers(Index stage) const {
    return layers_of_stage(config_.num_layers, split().pipeline_parallel, stage);
  }
  [[nodiscard]] Index replica_of(Index worker) const { return worker / split().workers(); }
  [[nodiscard]] Index stage_of(Index worker) const { return worker % split().workers() / split().tensor_parallel; }
  [[nodiscard]] Index shard_of(Index worker) const { return worker % split().tensor_parallel; }
  [[nodiscard]] Index first_of(Index replica, Index stage) const {
    return replica * split().workers() + stage * split().tensor_parallel;
  }
  [[nodiscard]] backends::Session& session(Index worker) { return *loaded_.sessions[static_cast<std::size_t>(worker)]; }
  [[nodiscard]] const backends::Session& session(Index worker) const {
    return *loaded_.sessions[static_cast<std::size_t>(worker)];
  }

  [[nodiscard]] PartHolders& holders() { return holders_; }

  using Work = Crew::Work;
  // Does something on all workers at once, or on the shards of one stage, in every replica. What all of them refuse, a
  // request error, is thrown as it is; anything else names the worker.
  void all(std::string_view doing, const Work& work);
  void stage(Index stage, std::string_view doing, const Work& work);

  // Throws parallel.differs.
  [[noreturn]] void differ(std::string_view doing, Index first, Index other, const std::string& how) const;
  // They must have the same bits: those of workers `first` and `other`.
  void require_same(std::string_view doing, std::string_view what, Index first, std::span<const std::byte> of_first,
                    Index other, std::span<const std::byte> of_other) const;

 private:
  [[nodiscard]] std::string name(Index worker) const { return holders_.name(shape_.first + worker); }
  void run(Index asked, std::string_view doing, const Work& work);

  ModelConfig config_;
  TeamShape shape_;
  PartHolders& holders_;
  LoadedParts loaded_;
  Crew crew_;
};

}  // namespace mlbench::parallel
