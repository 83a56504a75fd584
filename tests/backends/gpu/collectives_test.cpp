// Which way shards sum, and what they do to find out.
#include "backends/gpu/collectives.h"

#include <mutex>
#include <thread>

#include <gmock/gmock.h>

#include "backends/gpu/host_runtime.h"
#include "backends/parallel/thread_group.h"

namespace mlbench::gpu {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using Meeting = CollectiveLibrary::Meeting;

class NoSum final : public Collectives {
 public:
  void all_reduce(Stream& /*stream*/, float* /*values*/, Index /*count*/) override {}
  [[nodiscard]] bool can_be_recorded() const override { return true; }
};

// A vendor's library as a shard has it; notes with what it was joined.
class SomeLibrary final : public CollectiveLibrary {
 public:
  SomeLibrary(std::string name, std::string device) : name_(std::move(name)), device_(std::move(device)) {}

  [[nodiscard]] std::string name() const override { return name_; }
  [[nodiscard]] std::string device() const override { return device_; }
  [[nodiscard]] Meeting new_meeting() override {
    ++made;
    Meeting out;
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(255 - i);
    return out;
  }
  [[nodiscard]] std::unique_ptr<Collectives> join(const Meeting& meeting, Index shards, Index shard) override {
    joined = meeting;
    place = {shards, shard};
    return std::make_unique<NoSum>();
  }

  int made = 0;
  Meeting joined{};
  std::vector<Index> place;

 private:
  std::string name_, device_;
};

// Runs work(run) for every shard, each in a thread.
template <class Work>
void as_shards(Index shards, const Work& work) {
  const parallel::ThreadGroups groups({.tensor_parallel = shards});
  std::vector<std::jthread> threads;
  for (Index shard = 0; shard < shards; ++shard) {
    threads.emplace_back([&, shard] {
      work(backends::RunConfig{.tensor_parallel = shards, .shard = shard, .group = groups.of(shard)});
    });
  }
}

// What each of two shards with such libraries came to: whether it can be recorded, as NoSum alone can.
std::vector<bool> ways_of(CollectiveLibrary* first, CollectiveLibrary* second) {
  std::vector<bool> out(2);
  std::mutex mutex;
  const auto runtime = make_host_runtime(32);
  as_shards(2, [&](const backends::RunConfig& run) {
    const auto made = make_collectives(*runtime, run.shard == 0 ? first : second, run);
    const std::lock_guard lock(mutex);
    out[static_cast<std::size_t>(run.shard)] = made->can_be_recorded();
  });
  return out;
}

TEST(Collectives, AreTheLibrarysWhereEveryShardHasADeviceOfItsOwn) {
  SomeLibrary first("Sum 1.2", "here 0"), second("Sum 1.2", "here 1");
  EXPECT_THAT(ways_of(&first, &second), Each(true));
  EXPECT_EQ(first.made, 1);
  EXPECT_EQ(second.made, 0);
  EXPECT_EQ(first.joined, first.new_meeting());
  EXPECT_EQ(second.joined, first.joined);
  EXPECT_THAT(first.place, ElementsAre(2, 0));
  EXPECT_THAT(second.place, ElementsAre(2, 1));
}

TEST(Collectives, AreTheHostsWhereShardsShareADevice) {
  SomeLibrary first("Sum 1.2", "here 0"), second("Sum 1.2", "here 0");
  EXPECT_THAT(ways_of(&first, &second), Each(false));
}

TEST(Collectives, AreTheHostsWhereLibrariesDiffer) {
  SomeLibrary first("Sum 1.2", "here 0"), second("Sum 1.3", "here 1");
  EXPECT_THAT(ways_of(&first, &second), Each(false));
}

TEST(Collectives, AreTheHostsWhereAShardHasNoLibrary) {
  SomeLibrary other("Sum 1.2", "here 0");
  EXPECT_THAT(ways_of(&other, nullptr), Each(false));
  EXPECT_THAT(ways_of(nullptr, &other), Each(false));
  EXPECT_THAT(ways_of(nullptr, nullptr), Each(false));
}

TEST(Collectives, OfTheHostSumRowsOnTheDeviceInShardsOrder) {
  std::vector<std::vector<float>> sums(3);
  const auto runtime = make_host_runtime(32);
  as_shards(3, [&](const backends::RunConfig& run) {
    const auto stream = runtime->make_stream();
    const auto collectives = make_host_collectives(*runtime, run.group);
    std::vector<float>& sum = sums[static_cast<std::size_t>(run.shard)];
    // More at the second call: its room on the host grows.
    for (const Index count : {1, 5}) {
      const std::vector<float> own(static_cast<std::size_t>(count), static_cast<float>(1 << run.shard));
      const Memory rows(*runtime, own.size() * sizeof(float), "rows");
      runtime->copy_in(*stream, rows.data(), own.data(), own.size() * sizeof(float));
      collectives->all_reduce(*stream, rows.floats(), count);
      stream->synchronize();
      sum.insert(sum.end(), rows.floats(), rows.floats() + count);
    }
  });
  for (const std::vector<float>& sum : sums) EXPECT_THAT(sum, ElementsAre(7, 7, 7, 7, 7, 7));
}

TEST(Collectives, GatherEveryByteInShardsOrder) {
  std::vector<std::byte> all(256);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::byte>(i);
  as_shards(4, [&](const backends::RunConfig& run) {
    EXPECT_EQ(gathered(run, std::span(all).subspan(static_cast<std::size_t>(run.shard) * 64, 64)), all);
  });
}

}  // namespace
}  // namespace mlbench::gpu
