#include "harness/selftest/selftest.h"

#include <mutex>

#include "harness/selftest/judgement.h"
#include "harness/selftest/parallel_selftest.h"
#include "harness/selftest/subject.h"
#include "harness/verify_backend.h"

namespace mlbench::selftest {
namespace {

constexpr std::uint64_t kSeed = 1;  // of the runs with mistakes

BackendVerification verify(Scene scene, DType dtype, std::uint64_t seed, const Planted& planted, Depth depth) {
  Workers alone(1);
  const Model model = model_of(scene, dtype, seed, alone);
  const auto backend = make_subject(planted);
  harness::BackendOptions options;
  options.run.dtype = dtype;
  options.run.threads = 1;
  options.schedules = depth == Depth::all;
  options.seed = seed;
  const auto inputs = std::span(kInputs).first(depth == Depth::all ? std::size(kInputs) : 1);  // random comes first
  const auto cases = harness::make_cases(model.config, plan_of(scene, seed), inputs, seed);
  return harness::verify_backend(model, *backend, cases, options, alone);
}

// One verification of a selftest.
struct Job {
  std::size_t type = 0;  // index into the results
  bool honest = false;
  std::uint64_t seed = kSeed;
  std::function<MistakeResult()> run;
};

// The names of honest runs stand nowhere.
MistakeResult honest_result(std::string scene, const BackendVerification& result) {
  return judged(Planting{"", "", std::move(scene), {}}, result, true);
}

void add_jobs(std::size_t type, const SelftestOptions& options, std::vector<Job>& jobs) {
  const DType dtype = options.dtypes[type];
  for (const Mistake mistake : options.mistakes) {
    jobs.push_back({type, false, kSeed, [=] {
                      bool executed = false;
                      const BackendVerification result = verify_with(mistake, dtype, executed);
                      return judged(info(mistake), result, executed);
                    }});
  }
  for (Index i = 1; i <= options.seeds; ++i) {
    const auto seed = static_cast<std::uint64_t>(i);
    for (const SceneInfo& scene : scenes()) {
      jobs.push_back({type, true, seed,
                      [=] { return honest_result(std::string(scene.name), verify_honest(scene.scene, dtype, seed)); }});
    }
  }
}

// The same of what several workers do.
void add_parallel_jobs(std::size_t type, const SelftestOptions& options, std::vector<Job>& jobs) {
  if (!options.backend_of_parts) return;
  const DType dtype = options.dtypes[type];
  const auto& make = options.backend_of_parts;
  for (const ParallelMistake mistake : options.parallel_mistakes) {
    for (const ParallelScene& scene : scenes_of(mistake)) {
      jobs.push_back({type, false, kSeed, [=] {
                        const PlantedRun run = verify_with(mistake, scene, *make(), dtype, kSeed);
                        return judged(info(mistake), scene, run.result, run.executed);
                      }});
    }
  }
  for (Index i = 1; i <= options.seeds; ++i) {
    const auto seed = static_cast<std::uint64_t>(i);
    for (const ParallelScene& scene : parallel_scenes()) {
      jobs.push_back(
          {type, true, seed, [=] { return honest_result(name(scene), verify_honest(scene, *make(), dtype, seed)); }});
    }
  }
}

std::vector<Job> jobs_of(const SelftestOptions& options) {
  std::vector<Job> jobs;
  for (std::size_t type = 0; type < options.dtypes.size(); ++type) {
    add_jobs(type, options, jobs);
    add_parallel_jobs(type, options, jobs);
  }
  return jobs;
}

void take(const Job& job, const MistakeResult& done, SelftestOfType& out) {
  if (!job.honest) {
    out.mistakes.push_back(done);
    return;
  }
  ++out.honest_runs;
  out.honest_ratio = done.ratio <= out.honest_ratio ? out.honest_ratio : done.ratio;
  if (done.verdict == mlbench::name(BackendVerification::Verdict::passed)) return;
  out.alarms.push_back({done.scene, job.seed, done.verdict, done.where, done.call, done.ratio});
}

}  // namespace

BackendVerification verify_with(Mistake mistake, DType dtype, bool& executed) {
  const Planted planted(mistake);
  BackendVerification result = verify(info(mistake).scene, dtype, kSeed, planted, Depth::plan);
  // Most are found by then; what is not, a whole verification may still find.
  if (!blamed(result)) result = verify(info(mistake).scene, dtype, kSeed, planted, Depth::all);
  executed = planted.hits() > 0;
  return result;
}

BackendVerification verify_honest(Scene scene, DType dtype, std::uint64_t seed, Depth depth) {
  return verify(scene, dtype, seed, Planted(), depth);
}

MistakeResult judged(const MistakeInfo& mistake, const BackendVerification& result, bool executed) {
  return judged(Planting{mistake.name, mistake.what, std::string(name(mistake.scene)), mistake.places}, result,
                executed);
}

SelftestResults run_selftest(const SelftestOptions& options, Workers& workers) {
  SelftestResults out;
  out.seeds = options.seeds;
  for (const DType dtype : options.dtypes) {
    SelftestOfType& type = out.types.emplace_back();
    type.dtype = mlbench::name(dtype);
    type.required_found = required_share(type.dtype);
  }
  const std::vector<Job> jobs = jobs_of(options);
  std::vector<MistakeResult> done(jobs.size());
  std::mutex mutex;
  std::size_t finished = 0;
  workers.each(static_cast<Index>(jobs.size()), [&](Index i) {
    const auto at = static_cast<std::size_t>(i);
    done[at] = jobs[at].run();
    const std::lock_guard lock(mutex);
    ++finished;
    if (!options.progress) return;
    const std::string doing = jobs[at].honest ? "honest, " + done[at].scene : done[at].name;
    options.progress(doing, static_cast<double>(finished) / static_cast<double>(jobs.size()));
  });
  for (std::size_t i = 0; i < jobs.size(); ++i) take(jobs[i], done[i], out.types[jobs[i].type]);
  return out;
}

}  // namespace mlbench::selftest
