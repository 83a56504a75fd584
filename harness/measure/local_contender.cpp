#include "harness/measure/local_contender.h"

#include "harness/memory.h"
#include "models/rounded.h"

namespace mlbench::measure {

backends::RunConfig run_of(const BenchPoint& point) {
  return {.dtype = *parse_dtype(point.dtype),
          .device = point.device,
          .threads = point.threads,
          .tensor_parallel = point.tensor_parallel,
          .pipeline_parallel = point.pipeline_parallel,
          .disaggregated = point.disaggregated,
          .replicas = point.replicas};
}

LocalContender::LocalContender(backends::Backend& backend, std::span<const PointPlan> points, Load load,
                               const CheckOptions& check, Workers& workers)
    : backend_(backend), points_(points), load_(std::move(load)), check_(check), workers_(workers) {}

LocalContender::Loaded& LocalContender::loaded(const BenchPoint& point) {
  const ModelKey key{point.model, point.dtype};
  const auto found = loaded_.find(key);
  if (found != loaded_.end()) return found->second;
  // The reference checks with the same rounded weights that the backend runs.
  return loaded_.emplace(key, Loaded{rounded_to(load_(point), *parse_dtype(point.dtype), workers_), {}}).first->second;
}

backends::Session& LocalContender::session(const BenchPoint& point) {
  Loaded& of_model = loaded(point);
  auto& session = of_model.sessions[{point.threads, point.tensor_parallel, point.pipeline_parallel, point.disaggregated,
                                     point.replicas}];
  if (session == nullptr) session = backend_.load(of_model.model, run_of(point));
  return *session;
}

Testbed& LocalContender::bed(std::size_t point) {
  auto& bed = beds_[point];
  const PointPlan& plan = points_[point];
  if (bed == nullptr) {
    backends::Session& on = session(plan.point);
    bed = std::make_unique<Testbed>(on, loaded(plan.point).model.config, plan.point, plan.methods, check_.seed);
  }
  return *bed;
}

std::vector<TimedMethod> LocalContender::repeat(std::size_t point) { return bed(point).repeat(); }

std::vector<Verified> LocalContender::check(std::size_t point) {
  Testbed& checked = bed(point);
  std::vector<Verified> out = check_outputs(checked, loaded(points_[point].point).model, check_, workers_);
  beds_.erase(point);
  return out;
}

std::uint64_t LocalContender::peak_memory() { return harness::peak_memory_bytes(); }

void LocalContender::release() {
  beds_.clear();
  loaded_.clear();
}

}  // namespace mlbench::measure
