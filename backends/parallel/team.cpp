#include "backends/parallel/team.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::parallel {
namespace {

Error failed(const std::string& message) { return Error(ErrorKind::internal, "backend.failed", message); }

// What was thrown, as ours; nothing where nothing was.
std::optional<Error> error_of(const std::exception_ptr& thrown) {
  if (!thrown) return std::nullopt;
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    return error;
  } catch (const std::exception& error) {
    return failed(error.what());
  }
}

}  // namespace

Team::Team(ModelConfig config, const TeamShape& shape, LoadedParts loaded, PartHolders& holders)
    : config_(std::move(config)),
      shape_(shape),
      holders_(holders),
      loaded_(std::move(loaded)),
      crew_(shape.workers()) {}

void Team::all(std::string_view doing, const Work& work) { run(workers(), doing, work); }

void Team::stage(Index stage, std::string_view doing, const Work& work) {
  run(split().tensor_parallel * replicas(), doing, [&](Index worker) {
    if (stage_of(worker) == stage) work(worker);
  });
}

// `asked`: how many of them have something to do.
void Team::run(Index asked, std::string_view doing, const Work& work) {
  std::mutex mutex;
  std::optional<Error> failure;
  Index culprit = 0;
  const Work on_failure = [&](Index worker) {
    const Error error = *error_of(std::current_exception());
    if (error.kind() == ErrorKind::request) return;
    const std::lock_guard lock(mutex);
    // What fails after the first may do so for its sake; who says so waits for the one to blame.
    const bool blameless = error.code() == "parallel.stopped";
    if (failure && (blameless || failure->code() != "parallel.stopped")) return;
    failure.emplace(error);
    const Index number = shape_.first + worker;
    culprit = error.code() == "backend.timeout" ? holders_.culprit(number) : number;
    if (!blameless) holders_.leave();
  };
  const std::vector<std::exception_ptr> thrown = crew_.run(0, workers(), work, on_failure);
  if (failure)
    throw Error(failure->kind(), failure->code(), fmt::format("{}: {}", holders_.name(culprit), failure->message()));
  const auto refused = std::ranges::count_if(thrown, [](const auto& each) { return each != nullptr; });
  if (refused == 0) return;
  const auto one = std::ranges::find_if(thrown, [](const auto& each) { return each != nullptr; });
  if (refused == asked) throw Error(*error_of(*one));
  holders_.leave();
  const auto worker = static_cast<Index>(one - thrown.begin());
  throw failed(fmt::format("{}: {} refused what others took: {}", doing, name(worker), error_of(*one)->message()));
}

void Team::differ(std::string_view doing, Index first, Index other, const std::string& how) const {
  throw Error(ErrorKind::internal, "parallel.differs",
              fmt::format("{}: {} and {} differ in {}", doing, name(first), name(other), how));
}

void Team::require_same(std::string_view doing, std::string_view what, Index first, std::span<const std::byte> of_first,
                        Index other, std::span<const std::byte> of_other) const {
  if (std::ranges::equal(of_first, of_other)) return;
  const auto at = std::ranges::mismatch(of_first, of_other).in1 - of_first.begin();
  differ(doing, first, other,
         fmt::format("{}, from byte {} of {} on: must be the same bits", what, at, of_first.size()));
}

}  // namespace mlbench::parallel
