#include "harness/measure/figures.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "harness/measure/cost.h"
#include "harness/measure/statistics.h"

namespace mlbench::measure {
namespace {

// The calls of one repetition of one replica: the prompt's, or every step's.
std::vector<CallCost> calls_of(const BenchRow& row, const ModelConfig& config) {
  const BenchPoint& p = row.point;
  const DType stored = *parse_dtype(p.dtype);
  const bool hidden = row.method.ends_with("_to_last_hidden_states");
  if (!row.decode) {
    const Index logits = hidden ? 0 : row.method == "batch_verify" ? p.batch * p.prompt : p.batch;
    return {cost_of(config, stored, {.batch = p.batch, .rows = p.prompt, .before = p.depth, .logit_rows = logits})};
  }
  std::vector<CallCost> calls;
  for (Index step = 0; step < p.gen; ++step) {
    calls.push_back(cost_of(
        config, stored,
        {.batch = p.batch, .rows = 1, .before = p.depth + p.prompt + step, .logit_rows = hidden ? 0 : p.batch}));
  }
  return calls;
}

void percentiles(BenchRow& row) {
  std::vector<double> all;
  for (const std::vector<double>& steps : row.steps) all.insert(all.end(), steps.begin(), steps.end());
  if (!row.decode) all = row.samples;
  const auto enough = [&](double p) { return static_cast<Index>(all.size()) >= samples_for_percentile(p); };
  if (!all.empty()) row.p50 = median(all);
  if (enough(0.9)) row.p90 = quantile(all, 0.9);
  if (enough(0.99)) row.p99 = quantile(all, 0.99);
}

}  // namespace

void complete(BenchRow& row, const ModelConfig& config, const ProbeResult* rates, std::uint64_t caches_bytes,
              double confidence) {
  if (row.samples.empty()) return;
  const auto tokens = static_cast<double>(row.point.tokens(row.decode));
  const Estimate time = median_interval(row.samples, confidence);
  row.median = time;
  // With too few samples the time's interval is infinite on both sides; a rate is not below 0.
  const double fastest = time.low > 0.0 ? tokens / time.low : std::numeric_limits<double>::infinity();
  row.tokens_per_second = Estimate{tokens / time.value, tokens / time.high, fastest};
  row.spread = median_absolute_deviation(row.samples) / time.value;
  percentiles(row);

  CallCost cost;
  const std::vector<CallCost> calls = calls_of(row, config);
  for (Index replica = 0; replica < row.point.replicas; ++replica) {
    for (const CallCost& call : calls) cost += call;
  }
  row.flops_per_token = cost.flops / tokens;
  row.bytes_per_token = cost.bytes() / tokens;
  if (rates == nullptr) return;
  row.mfu = flops_share(cost, *rates, time.value);
  row.mbu = bytes_share(cost, *rates, time.value);
  const auto replicas = static_cast<double>(row.point.replicas);
  for (const CallCost& call : calls) row.floor_seconds += replicas * floor_seconds(call, *rates, caches_bytes);
  const double shortest = *std::ranges::min_element(row.samples);
  if (row.check == BenchCheck::unchecked || shortest >= row.floor_seconds) return;
  row.check = BenchCheck::implausible;
  row.check_text = fmt::format("{:.3g} s for a repetition: what the device reaches allows no less than {:.3g} s",
                               shortest, row.floor_seconds);
}

namespace {

Index ranks_of(const BenchPoint& point) {
  return point.tensor_parallel * point.pipeline_parallel * point.replicas * (point.disaggregated ? 2 : 1);
}

// `threads`: of the row in one piece, or nothing where any number will do.
const BenchRow* in_one_piece(std::span<const BenchRow> rows, const BenchRow& split, bool same_threads) {
  for (const BenchRow& row : rows) {
    BenchPoint point = split.point;
    point.tensor_parallel = point.pipeline_parallel = point.replicas = 1;
    point.disaggregated = false;
    if (!same_threads) point.threads = row.point.threads;
    if (row.point == point && row.method == split.method && row.tokens_per_second) return &row;
  }
  return nullptr;
}

}  // namespace

void add_scaling(std::span<BenchRow> rows) {
  for (BenchRow& row : rows) {
    if (ranks_of(row.point) == 1 || !row.tokens_per_second) continue;
    const BenchRow* const equal = in_one_piece(rows, row, true);
    const BenchRow* const base = equal != nullptr ? equal : in_one_piece(rows, row, false);
    if (base == nullptr) continue;
    Scaling scaling{row.tokens_per_second->value / base->tokens_per_second->value, std::nullopt};
    if (equal != nullptr) scaling.efficiency = scaling.speedup / static_cast<double>(ranks_of(row.point));
    row.scaling = scaling;
  }
}

}  // namespace mlbench::measure
