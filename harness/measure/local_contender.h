// The points of a sweep, run in this process.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <tuple>

#include "core/workers.h"
#include "harness/measure/measure.h"
#include "models/weights.h"

namespace mlbench::measure {

class LocalContender final : public Contender {
 public:
  // The model of a point, with weights in its type. What it throws is the error of the points that need it.
  using Load = std::function<Model(const BenchPoint& point)>;

  // All must outlive this. `workers` are the reference's, when outputs are checked.
  LocalContender(backends::Backend& backend, std::span<const PointPlan> points, Load load, const CheckOptions& check,
                 Workers& workers);

  std::vector<TimedMethod> repeat(std::size_t point) override;
  std::vector<Verified> check(std::size_t point) override;
  std::uint64_t peak_memory() override;
  void release() override;

 private:
  using ModelKey = std::pair<std::string, std::string>;  // model, type
  struct Loaded {
    Model model;
    // By threads, tp, pp, and whether prefill and decode are apart.
    std::map<std::tuple<int, Index, Index, bool, Index>, std::unique_ptr<backends::Session>> sessions;
  };

  Loaded& loaded(const BenchPoint& point);
  backends::Session& session(const BenchPoint& point);
  Testbed& bed(std::size_t point);

  backends::Backend& backend_;
  std::span<const PointPlan> points_;
  Load load_;
  CheckOptions check_;
  Workers& workers_;
  std::map<ModelKey, Loaded> loaded_;
  std::map<std::size_t, std::unique_ptr<Testbed>> beds_;  // go before the sessions
};

[[nodiscard]] backends::RunConfig run_of(const BenchPoint& point);

}  // namespace mlbench::measure
