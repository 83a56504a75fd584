#include "harness/cache_check.h"

#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace mlbench::harness {
namespace {

using ref::Tensor;

// What is stored of one kind: keys or values.
struct Stored {
  TapCheck check;
  std::optional<std::pair<Tensor, Tensor>> straying;  // expected and got of the first sequence that strays
};

// Adds the entries of one sequence, [L, n, Hkv, d], to a check that allows no difference.
void compare_entries(const Tensor& expected, const Tensor& got, SeqId id, Stored& stored) {
  TapCheck& check = stored.check;
  const Index count = expected.dim(1), heads = expected.dim(2), width = expected.dim(3);
  check.elements += expected.size();
  for (Index i = 0; i < expected.size(); ++i) {
    const double want = expected.values()[static_cast<std::size_t>(i)];
    const double value = got.values()[static_cast<std::size_t>(i)];
    const bool both_nan = std::isnan(want) && std::isnan(value);
    if (want == value || both_nan) continue;
    const double error = std::isnan(want - value) ? std::numeric_limits<double>::infinity() : std::fabs(want - value);
    ++check.straying;
    if (check.worst && error <= check.error) continue;
    check.error = error;
    check.ratio = std::numeric_limits<double>::infinity();
    check.worst = Mismatch{
        id, i / width / heads % count,
        fmt::format("layer {} head {} [{}]", i / width / heads / count, i / width % heads, i % width), want, value};
  }
  if (check.straying > 0 && !stored.straying) stored.straying = {expected, got};
}

}  // namespace

void check_positions(const Call& call, const std::vector<std::int32_t>& expected,
                     const std::vector<std::int32_t>& positions, const FaultReport& fault) {
  if (!fault || positions == expected) return;
  fault({"cache.positions", call.label,
         fmt::format("get_query_positions says [{}]: the rows stand at [{}]", fmt::join(positions, ", "),
                     fmt::join(expected, ", "))});
}

void CacheCheck::begin(const Call& call, const std::vector<std::int32_t>& positions) {
  for (const CacheOperation& operation : call.before) {
    switch (operation.kind) {
      case CacheOperation::Kind::add: live_.insert(operation.id); break;
      case CacheOperation::Kind::remove: live_.erase(operation.id); break;
      case CacheOperation::Kind::fork: live_.insert(operation.child); break;
      default: break;
    }
  }
  check_positions(call, replicas_.positions(call), positions, fault_);
}

void CacheCheck::finish(const std::string& story) {
  for (const SeqId id : live_) cache_.remove_sequence(id);
  live_.clear();
  const Index free = cache_.num_available_pages();
  if (!fault_ || (cache_.empty() && free == pages_)) return;
  fault_({"cache.pages", story, fmt::format("without sequences the cache has {} free pages of {}", free, pages_)});
}

void CacheCheck::end(const TapPlace& place, const ModelConfig& config, DType type, const Report& report) {
  Stored keys, values;
  for (Stored* stored : {&keys, &values}) {
    TapCheck& check = stored->check;
    check.mode = place.mode;
    check.inputs = place.inputs;
    check.call = place.call->label;
    check.method = backends::name(place.call->method);
    check.tap = check.kind = stored == &keys ? "cache.k" : "cache.v";
  }
  for (const SeqId id : live_) {
    const Index length = replicas_.length(id), own = cache_.sequence_length(id);
    if (own != length) {
      if (fault_)
        fault_(
            {"cache.positions", place.call->label, fmt::format("sequence {} has length {}, not {}", id, own, length)});
      continue;
    }
    if (length == 0) continue;  // nothing to read
    const ref::PagedKvCache::Entries expected = replicas_.entries(id, replica_);
    HostTensor k(type, {config.num_layers, length, config.num_kv_heads, config.head_dim}), v = k;
    cache_.debug_get_kv(id, 0, length, k.view(), v.view());
    compare_entries(expected.keys, k.widened(), id, keys);
    compare_entries(expected.values, v.widened(), id, values);
  }
  if (const Index total = cache_.total_sequence_length(); fault_ && total != replicas_.total_length())
    fault_({"cache.positions", place.call->label,
            fmt::format("total_sequence_length is {}, not {}", total, replicas_.total_length())});
  const std::function<double(Index)> limit = [](Index) { return 0.0; };
  for (Stored* stored : {&keys, &values}) {
    stored->check.passed = stored->check.straying == 0;
    if (!stored->straying) {
      report(std::move(stored->check), nullptr);
      continue;
    }
    const auto& [expected, got] = *stored->straying;
    const Sight sight{std::nullopt, expected, got, limit};
    report(std::move(stored->check), &sight);
  }
}

}  // namespace mlbench::harness
