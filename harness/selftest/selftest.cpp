#include "harness/selftest/selftest.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include <fmt/format.h>

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

// What failed, in the order in which a reader is told: the first tap, then findings, then comparisons of runs.
struct Places {
  std::vector<std::string> names;
  std::string first;
  std::string call;  // of the first, where it is a tap

  void add(const std::string& name) {
    if (names.empty()) first = name;
    names.push_back(name);
  }
};

Places places_of(const BackendVerification& result) {
  Places out;
  if (const TapCheck* tap = result.first_failure()) {
    out.add(tap->tap);
    out.names.push_back(tap->kind);
    out.call = fmt::format("{} {}", mlbench::name(tap->mode), tap->call);
  }
  for (const Finding& fault : result.faults) out.add(fault.code);
  for (const ScheduleComparison& pair : result.schedules) {
    if (!pair.passed) out.add(pair.first_tap);
  }
  for (const Invariance& invariance : result.invariances) {
    if (invariance.required && !invariance.holds) out.add(invariance.property);
  }
  for (const Finding& finding : result.untrusted) out.add(finding.code);
  if (!result.error.empty()) out.add(result.error.substr(0, result.error.find(':')));
  return out;
}

double largest_ratio(const BackendVerification& result) {
  double largest = 0.0;
  for (const TapCheck& check : result.checks) largest = check.ratio <= largest ? largest : check.ratio;
  return largest;
}

// Loose limits and a reference that does not react are the run's own: they say nothing of who was verified.
bool blamed(const BackendVerification& result) {
  using Verdict = BackendVerification::Verdict;
  const auto of_backend = [](const Finding& finding) { return finding.code == "untrusted.constant"; };
  return result.verdict() == Verdict::failed || result.verdict() == Verdict::error ||
         std::ranges::any_of(result.untrusted, of_backend);
}

// One verification of a selftest.
struct Job {
  std::size_t type = 0;                  // index into the results
  const MistakeInfo* mistake = nullptr;  // null: honest
  Scene scene = Scene::llama;
  std::uint64_t seed = kSeed;
};

std::vector<Job> jobs_of(const SelftestOptions& options) {
  std::vector<Job> jobs;
  for (std::size_t type = 0; type < options.dtypes.size(); ++type) {
    for (const Mistake mistake : options.mistakes) jobs.push_back({type, &info(mistake), info(mistake).scene, kSeed});
    for (Index seed = 1; seed <= options.seeds; ++seed) {
      for (const SceneInfo& scene : scenes()) {
        jobs.push_back({type, nullptr, scene.scene, static_cast<std::uint64_t>(seed)});
      }
    }
  }
  return jobs;
}

struct Done {
  MistakeResult mistake;
  BackendVerification::Verdict verdict = BackendVerification::Verdict::passed;
};

Done run_job(const Job& job, DType dtype) {
  bool executed = true;
  const BackendVerification result = job.mistake != nullptr ? verify_with(job.mistake->mistake, dtype, executed)
                                                            : verify_honest(job.scene, dtype, job.seed);
  const MistakeInfo none{};
  Done out{judged(job.mistake != nullptr ? *job.mistake : none, result, executed), result.verdict()};
  out.mistake.scene = name(job.scene);
  return out;
}

void take(const Job& job, const Done& done, SelftestOfType& out) {
  if (job.mistake != nullptr) {
    out.mistakes.push_back(done.mistake);
    return;
  }
  ++out.honest_runs;
  const MistakeResult& m = done.mistake;
  out.honest_ratio = m.ratio <= out.honest_ratio ? out.honest_ratio : m.ratio;
  if (done.verdict == BackendVerification::Verdict::passed) return;
  out.alarms.push_back({m.scene, job.seed, m.verdict, m.where, m.call, m.ratio});
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
  const Places places = places_of(result);
  MistakeResult out;
  out.name = mistake.name;
  out.what = mistake.what;
  out.scene = name(mistake.scene);
  out.executed = executed;
  out.verdict = mlbench::name(result.verdict());
  out.found = executed && blamed(result);
  out.placed = out.found && std::ranges::any_of(mistake.places, [&](std::string_view place) {
                 return std::ranges::find(places.names, place) != places.names.end();
               });
  out.where = places.first;
  out.call = places.call;
  out.ratio = largest_ratio(result);
  return out;
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
  std::vector<Done> done(jobs.size());
  std::mutex mutex;
  std::size_t finished = 0;
  workers.each(static_cast<Index>(jobs.size()), [&](Index i) {
    const auto at = static_cast<std::size_t>(i);
    done[at] = run_job(jobs[at], options.dtypes[jobs[at].type]);
    const std::lock_guard lock(mutex);
    ++finished;
    if (!options.progress) return;
    const std::string doing = jobs[at].mistake != nullptr ? done[at].mistake.name : "honest, " + done[at].mistake.scene;
    options.progress(doing, static_cast<double>(finished) / static_cast<double>(jobs.size()));
  });
  for (std::size_t i = 0; i < jobs.size(); ++i) take(jobs[i], done[i], out.types[jobs[i].type]);
  return out;
}

}  // namespace mlbench::selftest
