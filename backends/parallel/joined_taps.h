// The taps of a model from those of its shards.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "backends/parallel/team.h"

namespace mlbench::parallel {

// Keeps what every worker gives during one call, and then shows what the model gives.
class JoinedTaps {
 public:
  JoinedTaps(Team& team, backends::TapSink& shown);
  ~JoinedTaps();

  [[nodiscard]] backends::TapSink* of(Index worker);
  // After the call, of what all shards of a stage gave. Throws parallel.differs where they should have given the same.
  void show(std::string_view doing);

 private:
  class OfWorker;
  void show(std::string_view doing, TapId id, Index stage);

  Team& team_;
  backends::TapSink& shown_;
  std::vector<std::unique_ptr<OfWorker>> workers_;
};

}  // namespace mlbench::parallel
