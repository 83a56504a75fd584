#include "backends/parallel/joined_taps.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::parallel {
namespace {

// [A, n_r, width]: of each in turn, one after another along the middle axis.
HostTensor side_by_side(const std::vector<const HostTensor*>& parts, Index outer, Shape shape) {
  HostTensor out(parts.front()->dtype(), std::move(shape));
  std::byte* to = out.bytes().data();
  for (Index i = 0; i < outer; ++i) {
    for (const HostTensor* part : parts) {
      const std::size_t bytes = part->bytes().size() / static_cast<std::size_t>(outer);
      const std::byte* from = part->bytes().data() + static_cast<std::size_t>(i) * bytes;
      to = std::copy(from, from + bytes, to);
    }
  }
  return out;
}

HostTensor columns(const std::vector<const HostTensor*>& parts) {
  const Index rows = parts.front()->shape()[0];
  Index width = 0;
  for (const HostTensor* part : parts) width += part->shape()[1];
  return side_by_side(parts, rows, {rows, width});
}

HostTensor heads(const std::vector<const HostTensor*>& parts) {
  Shape shape = parts.front()->shape();
  shape[0] = 0;
  for (const HostTensor* part : parts) shape[0] += part->shape()[0];
  return side_by_side(parts, 1, std::move(shape));
}

HostTensor stacked(const std::vector<const HostTensor*>& parts) {
  const Shape& shape = parts.front()->shape();
  return side_by_side(parts, 1, {static_cast<Index>(parts.size()), shape[0], shape[1]});
}

// In float64, so that nothing is rounded that no worker rounded.
HostTensor summed(const std::vector<const HostTensor*>& parts) {
  Tensor<double> sum = parts.front()->widened();
  for (std::size_t shard = 1; shard < parts.size(); ++shard) {
    const Tensor<double> part = parts[shard]->widened();
    std::ranges::transform(sum.values(), part.values(), sum.values().begin(), std::plus<>());
  }
  return {DType::f64, sum};
}

bool is_part(Tap tap) { return tap == Tap::attn_part || tap == Tap::mlp_part || tap == Tap::block_part; }

// The sum that no worker has: Phi adds up more than one product at once.
std::optional<Tap> sum_of(Tap part) {
  if (part == Tap::attn_part) return Tap::attn_out;
  if (part == Tap::mlp_part) return Tap::mlp_out;
  return std::nullopt;
}

}  // namespace

class JoinedTaps::OfWorker final : public backends::TapSink {
 public:
  OfWorker(const backends::TapSink& shown, bool adds_blocks) : shown_(shown), adds_blocks_(adds_blocks) {}

  [[nodiscard]] bool wants(TapId id) const override {
    if (shown_.wants(id)) return true;
    const auto sum = sum_of(id.tap);
    return adds_blocks_ && sum && shown_.wants({*sum, id.layer});
  }
  void take(TapId id, const ConstTensorView& value) override {
    HostTensor copy(value.dtype, value.shape);
    std::copy_n(value.data, copy.bytes().size(), copy.bytes().begin());
    given.emplace_back(id, std::move(copy));
  }

  std::vector<std::pair<TapId, HostTensor>> given;  // in the order of computation

  [[nodiscard]] const HostTensor* find(TapId id) const {
    const auto at = std::ranges::find(given, id, [](const auto& each) { return each.first; });
    return at == given.end() ? nullptr : &at->second;
  }

 private:
  const backends::TapSink& shown_;
  bool adds_blocks_;
};

JoinedTaps::JoinedTaps(Team& team, backends::TapSink& shown) : team_(team), shown_(shown) {
  const bool adds_blocks = team.config().architecture == Architecture::phi;
  for (Index worker = 0; worker < team.workers(); ++worker)
    workers_.push_back(std::make_unique<OfWorker>(shown, adds_blocks));
}
JoinedTaps::~JoinedTaps() = default;

backends::TapSink* JoinedTaps::of(Index worker) { return workers_[static_cast<std::size_t>(worker)].get(); }

void JoinedTaps::show(std::string_view doing) {
  for (Index stage = 0; stage < team_.split().pipeline_parallel; ++stage) {
    const OfWorker& first = *workers_[static_cast<std::size_t>(stage * team_.split().tensor_parallel)];
    for (const auto& given : first.given) show(doing, given.first, stage);
  }
}

// Of the shards from `first` on.
std::vector<const HostTensor*> JoinedTaps::parts_of(std::string_view doing, TapId id, Index first) const {
  std::vector<const HostTensor*> parts;
  for (Index worker = first; worker < first + team_.split().tensor_parallel; ++worker) {
    parts.push_back(workers_[static_cast<std::size_t>(worker)]->find(id));
    if (parts.back() == nullptr)
      throw Error(ErrorKind::internal, "backend.failed",
                  fmt::format("{}: a shard gave {}, another did not", doing, to_string(id)));
  }
  return parts;
}

void JoinedTaps::require_same_replicas(std::string_view doing, TapId id, Index stage) const {
  const Index first = team_.first_of(0, stage);
  const std::vector<const HostTensor*> parts = parts_of(doing, id, first);
  for (Index replica = 1; replica < team_.replicas(); ++replica) {
    const Index other = team_.first_of(replica, stage);
    const std::vector<const HostTensor*> others = parts_of(doing, id, other);
    for (std::size_t shard = 0; shard < parts.size(); ++shard) {
      const auto place = static_cast<Index>(shard);
      team_.require_same(doing, to_string(id), first + place, parts[shard]->bytes(), other + place,
                         others[shard]->bytes());
    }
  }
}

void JoinedTaps::show(std::string_view doing, TapId id, Index stage) {
  require_same_replicas(doing, id, stage);
  const Index shards = team_.split().tensor_parallel, first = team_.first_of(0, stage);
  const std::vector<const HostTensor*> parts = parts_of(doing, id, first);
  const auto give = [&](TapId as, const HostTensor& value) {
    if (shown_.wants(as)) shown_.take(as, value.view());
  };
  if (is_part(id.tap)) {
    give(id, stacked(parts));
    const auto sum = sum_of(id.tap);
    if (sum && workers_[static_cast<std::size_t>(first)]->find({*sum, id.layer}) == nullptr)
      give({*sum, id.layer}, summed(parts));
    return;
  }
  switch (joining_of(id.tap)) {
    case Joining::columns: return give(id, columns(parts));
    case Joining::heads: return give(id, heads(parts));
    case Joining::same: break;
  }
  for (Index shard = 1; shard < shards; ++shard)
    team_.require_same(doing, to_string(id), first, parts[0]->bytes(), first + shard,
                       parts[static_cast<std::size_t>(shard)]->bytes());
  give(id, *parts[0]);
}

}  // namespace mlbench::parallel
