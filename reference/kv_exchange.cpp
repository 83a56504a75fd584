#include "reference/kv_exchange.h"

#include <algorithm>

#include <fmt/format.h>

namespace mlbench::ref {
namespace {

bool is_among(const PagedKvCache& cache, std::span<const PagedKvCache> caches) {
  return std::ranges::any_of(caches, [&](const PagedKvCache& other) { return &other == &cache; });
}

Error unlike(const std::string& what) {
  return request_error("parallel.unsupported", fmt::format("disagg_mark_send: {}: they must be equal", what));
}

}  // namespace

Index KvExchange::join(std::span<PagedKvCache> caches, const Split& split) {
  if (static_cast<Index>(caches.size()) != split.workers()) {
    throw request_error("kv.bad_argument",
                        fmt::format("an instance of {} workers was given {} caches", split.workers(), caches.size()));
  }
  const Index first = instances_.empty() ? 0 : instances_.back().first + instances_.back().split.workers();
  instances_.push_back({first, split, caches});
  for (PagedKvCache& cache : caches) cache.connect(*this);
  return first;
}

const KvExchange::Instance& KvExchange::instance_of(const PagedKvCache& cache) const {
  const auto holds = [&](const Instance& instance) { return is_among(cache, instance.caches); };
  const auto found = std::ranges::find_if(instances_, holds);
  if (found == instances_.end())
    throw request_error("kv.state", "disagg_mark_send: the cache has not joined the exchange, or was moved since");
  return *found;
}

const KvExchange::Instance& KvExchange::instance_at(Index first) const {
  const auto found = std::ranges::find(instances_, first, &Instance::first);
  if (found == instances_.end()) {
    throw request_error(
        "kv.bad_argument",
        fmt::format("disagg_mark_send: receiver_offset = {}: no instance begins with that worker", first));
  }
  return *found;
}

PagedKvCache& KvExchange::receiver_of(const PagedKvCache& sender, Index receiver_offset) const {
  const Instance& from = instance_of(sender);
  const Instance& to = instance_at(receiver_offset);
  if (&from == &to) {
    throw request_error("kv.bad_argument",
                        fmt::format("disagg_mark_send: receiver_offset = {} is the sender's own instance", to.first));
  }
  if (from.split != to.split) {
    throw unlike(fmt::format("the sender has {} shards and {} stages, the receiver {} and {}",
                             from.split.tensor_parallel, from.split.pipeline_parallel, to.split.tensor_parallel,
                             to.split.pipeline_parallel));
  }
  PagedKvCache& receiver = to.caches[static_cast<std::size_t>(&sender - from.caches.data())];
  if (sender.page_size() != receiver.page_size()) {
    throw unlike(fmt::format("the sender has pages of {} entries, the receiver of {}", sender.page_size(),
                             receiver.page_size()));
  }
  if (sender.shape() != receiver.shape()) {
    throw unlike("the caches of sender and receiver differ in layers, heads, their width or their rope mode");
  }
  return receiver;
}

}  // namespace mlbench::ref
