#include "harness/measure/messages.h"

#include <algorithm>
#include <bit>

namespace mlbench::measure {
namespace {

double wide(Index count) { return static_cast<double>(count); }

std::size_t at(Index index) { return static_cast<std::size_t>(index); }

double link_seconds(const Link& link, double bytes, double sharing) {
  return link.latency_seconds + bytes * (link.shared_by_node ? sharing : 1.0) / link.bytes_per_second;
}

}  // namespace

Messages::Messages(const Cluster& cluster, const Split& split, Index replicas)
    : cluster_(cluster), split_(split), replicas_(replicas) {
  const Index shards = split.tensor_parallel;
  std::vector<Pair> around, across;
  for (Index shard = 0; shard < shards; ++shard) {
    around.push_back({shard, (shard + 1) % shards});
    across.push_back({shard, shard});
  }
  ring_ = step_of(around, 0);
  for (const std::vector<Pair>& pairs : doubling_pairs()) doubling_.push_back(step_of(pairs, 0));
  forward_ = step_of(across, 1);
  answer_ = step_of({{0, 0}}, split.pipeline_parallel - 1);  // the same link there as back
}

std::vector<std::vector<Messages::Pair>> Messages::doubling_pairs() const {
  const Index shards = split_.tensor_parallel;
  const auto power = static_cast<Index>(std::bit_floor(static_cast<std::uint64_t>(shards)));
  const Index extra = shards - power;
  // Of the first 2 * extra shards, each even one gives its summand to its neighbour and gets the sum in the end.
  const auto taking_part = [&](Index rank) { return rank < extra ? 2 * rank + 1 : rank + extra; };
  std::vector<Pair> before, behind;
  for (Index i = 0; i < extra; ++i) {
    before.push_back({2 * i, 2 * i + 1});
    behind.push_back({2 * i + 1, 2 * i});
  }
  std::vector<std::vector<Pair>> steps;
  if (extra > 0) steps.push_back(before);
  for (Index distance = 1; distance < power; distance *= 2) {
    std::vector<Pair>& step = steps.emplace_back();
    for (Index rank = 0; rank < power; ++rank) {
      const Index partner = rank / distance % 2 == 0 ? rank + distance : rank - distance;
      step.push_back({taking_part(rank), taking_part(partner)});
    }
  }
  if (extra > 0) steps.push_back(behind);
  return steps;
}

Messages::Step Messages::step_of(const std::vector<Pair>& shards, Index ahead) const {
  Step step{.within = std::vector<bool>(at(split_.pipeline_parallel)),
            .between = std::vector<bool>(at(split_.pipeline_parallel))};
  std::vector<Index> leaving(at(cluster_.nodes)), reaching(at(cluster_.nodes));
  for (Index first = 0; first < replicas_ * split_.workers(); first += split_.tensor_parallel) {
    const Index stage = first / split_.tensor_parallel % split_.pipeline_parallel;
    if (stage + ahead >= split_.pipeline_parallel) continue;
    for (const auto& [from, to] : shards) {
      const Index sender = first + from, receiver = first + ahead * split_.tensor_parallel + to;
      if (sender == receiver) continue;
      const Index here = sender / cluster_.devices_per_node, there = receiver / cluster_.devices_per_node;
      if (here == there) {
        step.within[at(stage)] = true;
        continue;
      }
      step.between[at(stage)] = true;
      ++leaving[at(here)];
      ++reaching[at(there)];
    }
  }
  step.sharing = wide(std::max({Index{1}, *std::ranges::max_element(leaving), *std::ranges::max_element(reaching)}));
  return step;
}

double Messages::seconds(const Step& step, Index stage, double bytes) const {
  double slowest = 0.0;
  if (step.within[at(stage)]) slowest = link_seconds(*cluster_.within_node, bytes, 1.0);
  if (step.between[at(stage)]) slowest = std::max(slowest, link_seconds(*cluster_.between_nodes, bytes, step.sharing));
  return slowest;
}

double Messages::ring_seconds(Index stage, double bytes) const {
  const double shards = wide(split_.tensor_parallel);
  return 2.0 * (shards - 1.0) * seconds(ring_, stage, bytes / shards);
}

double Messages::doubling_seconds(Index stage, double bytes) const {
  double sum = 0.0;
  for (const Step& step : doubling_) sum += seconds(step, stage, bytes);
  return sum;
}

double Messages::all_reduce_seconds(Index stage, double bytes) const {
  return std::min(ring_seconds(stage, bytes), doubling_seconds(stage, bytes));
}

double Messages::forward_seconds(Index stage, double bytes) const { return seconds(forward_, stage, bytes); }

double Messages::answer_seconds(double bytes) const { return seconds(answer_, 0, bytes); }

}  // namespace mlbench::measure
