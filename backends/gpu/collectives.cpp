#include "backends/gpu/collectives.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "backends/gpu/growing.h"

namespace mlbench::gpu {
namespace {

class HostCollectives final : public Collectives {
 public:
  HostCollectives(Runtime& runtime, std::shared_ptr<backends::Group> group)
      : runtime_(runtime), group_(std::move(group)), growing_(runtime) {}

  // The copy back is left queued: in the same stream, nothing writes to the host's memory before it is done.
  void all_reduce(Stream& stream, float* values, Index count) override {
    const std::uint64_t bytes = static_cast<std::uint64_t>(count) * sizeof(float);
    if (bytes > rows_.bytes()) stream.synchronize();
    auto* host = static_cast<float*>(growing_.reserve(rows_, bytes, "rows on their way to other shards"));
    runtime_.copy_out(stream, host, values, bytes);
    stream.synchronize();
    group_->all_reduce({host, static_cast<std::size_t>(count)});
    runtime_.copy_in(stream, values, host, bytes);
  }
  [[nodiscard]] bool can_be_recorded() const override { return false; }

 private:
  Runtime& runtime_;
  std::shared_ptr<backends::Group> group_;
  Growing growing_;
  Pinned rows_;
};

// A shard's library and device, in a text of a fixed size; empty without a library.
using Place = std::array<char, 128>;

Place place_of(const CollectiveLibrary* library) {
  Place out{};
  if (library == nullptr) return out;
  const std::string text = fmt::format("{}\n{}", library->name(), library->device());
  std::copy_n(text.begin(), std::min(text.size(), out.size()), out.begin());
  return out;
}

// Whether all have the same library, and devices of their own.
bool is_for(std::span<const Place> places) {
  std::set<std::string> libraries;
  for (const Place& place : places) libraries.insert(std::string(place.begin(), std::ranges::find(place, '\n')));
  return places.front().front() != '\0' && libraries.size() == 1 &&
         std::set<Place>(places.begin(), places.end()).size() == places.size();
}

template <class Each>
std::vector<Each> all_of(const backends::RunConfig& run, const Each& own) {
  const std::vector<std::byte> bytes = gathered(run, std::as_bytes(std::span(own)));
  std::vector<Each> out(static_cast<std::size_t>(run.tensor_parallel));
  std::ranges::copy(bytes, std::as_writable_bytes(std::span(out)).begin());
  return out;
}

}  // namespace

// By a sum, the one thing that every group can do: each place has one shard's number, below 256, and zeros.
std::vector<std::byte> gathered(const backends::RunConfig& run, std::span<const std::byte> own) {
  std::vector<float> sum(own.size() * static_cast<std::size_t>(run.tensor_parallel));
  const std::size_t first = own.size() * static_cast<std::size_t>(run.shard);
  for (std::size_t i = 0; i < own.size(); ++i) sum[first + i] = std::to_integer<unsigned char>(own[i]);
  run.group->all_reduce(sum);
  std::vector<std::byte> out(sum.size());
  std::ranges::transform(sum, out.begin(), [](float value) { return static_cast<std::byte>(value); });
  return out;
}

std::unique_ptr<Collectives> make_host_collectives(Runtime& runtime, std::shared_ptr<backends::Group> group) {
  return std::make_unique<HostCollectives>(runtime, std::move(group));
}

std::unique_ptr<Collectives> make_collectives(Runtime& runtime, CollectiveLibrary* library,
                                              const backends::RunConfig& run) {
  if (!is_for(all_of(run, place_of(library)))) return make_host_collectives(runtime, run.group);
  const CollectiveLibrary::Meeting own = run.shard == 0 ? library->new_meeting() : CollectiveLibrary::Meeting{};
  return library->join(all_of(run, own).front(), run.tensor_parallel, run.shard);
}

}  // namespace mlbench::gpu
