// The taps of a model from those of its shards.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "backends/parallel/team.h"

namespace mlbench::parallel {

// Keeps what every worker gives during one call, and then shows what the model gives, in which all replicas must agree.
class JoinedTaps {
 public:
  JoinedTaps(Team& team, backends::TapSink& shown);
  ~JoinedTaps();

  [[nodiscard]] backends::TapSink* of(Index worker);
  // After the call, of what all shards of a stage gave. Throws parallel.differs where they, or replicas, should have
  // given the same.
  void show(std::string_view doing);

 private:
  class OfWorker;
  [[nodiscard]] std::vector<const HostTensor*> parts_of(std::string_view doing, TapId id, Index first) const;
  void require_same_replicas(std::string_view doing, TapId id, Index stage) const;
  void show(std::string_view doing, TapId id, Index stage);

  Team& team_;
  backends::TapSink& shown_;
  std::vector<std::unique_ptr<OfWorker>> workers_;
};

}  // namespace mlbench::parallel
