#include "harness/selftest/parallel_selftest.h"

#include "backends/parallel/parallel_backend.h"
#include "harness/selftest/judgement.h"
#include "harness/verify_backend.h"

namespace mlbench::selftest {
namespace {

BackendVerification verify(const ParallelScene& scene, backends::Backend& backend, DType dtype, std::uint64_t seed,
                           const ParallelPlanted& planted, Stages stages) {
  Workers alone(1);
  const Model model = model_of(scene, dtype, seed, alone);
  const auto holders = make_planted_holders(backend, planted, stages);
  const auto workers =
      parallel::make_parallel_backend(backend, [&](const backends::RunConfig&) { return holders.get(); });
  harness::BackendOptions options;
  options.run.dtype = dtype;
  options.run.tensor_parallel = scene.split.tensor_parallel;
  options.run.pipeline_parallel = options.run.micro_batches = scene.split.pipeline_parallel;
  options.run.disaggregated = scene.disaggregated;
  options.run.threads = 1;
  options.seed = seed;
  return harness::verify_backend(model, *workers, plan_of(scene, seed), options, alone);
}

}  // namespace

PlantedRun verify_with(ParallelMistake mistake, const ParallelScene& scene, backends::Backend& backend, DType dtype,
                       std::uint64_t seed) {
  const ParallelPlanted planted(mistake);
  PlantedRun out{verify(scene, backend, dtype, seed, planted, Stages::whole), false};
  out.executed = planted.hits() > 0;
  return out;
}

BackendVerification verify_honest(const ParallelScene& scene, backends::Backend& backend, DType dtype,
                                  std::uint64_t seed, Stages stages) {
  return verify(scene, backend, dtype, seed, ParallelPlanted(), stages);
}

MistakeResult judged(const ParallelMistakeInfo& mistake, const ParallelScene& scene, const BackendVerification& result,
                     bool executed) {
  MistakeResult out = judged(Planting{mistake.name, mistake.what, name(scene), mistake.places}, result, executed);
  out.certain = true;
  return out;
}

}  // namespace mlbench::selftest
