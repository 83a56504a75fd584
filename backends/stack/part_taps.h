// The taps of a part of a model, as the harness knows them: layers counted in the whole model, and rows that were run
// piece by piece put together.
#pragma once

#include <map>
#include <vector>

#include "backends/backend.h"

namespace mlbench::stack {

class PartTaps final : public backends::TapSink {
 public:
  // `pieces` of the rows follow each other; of attention's probabilities, `visible` entries at most are seen by any
  // row.
  PartTaps(backends::TapSink& shown, Index first_layer, Index pieces, Index visible)
      : shown_(shown), first_layer_(first_layer), pieces_(pieces), visible_(visible) {}

  [[nodiscard]] bool wants(TapId id) const override { return shown_.wants(of_model(id)); }
  void take(TapId id, const ConstTensorView& value) override;
  // After the last piece.
  void finish();

 private:
  [[nodiscard]] TapId of_model(TapId id) const {
    if (id.layer >= 0) id.layer += first_layer_;
    return id;
  }
  void give(TapId id, const std::vector<HostTensor>& pieces);

  backends::TapSink& shown_;
  Index first_layer_, pieces_, visible_;
  std::map<std::pair<Index, Tap>, std::vector<HostTensor>> taken_;  // by the layer of the model
};

}  // namespace mlbench::stack
