#include "harness/logits_agreement.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

namespace mlbench::harness {
namespace {

using Row = std::span<const double>;

// log softmax, by its largest value.
std::vector<double> log_probabilities(Row logits) {
  const double largest = *std::ranges::max_element(logits);
  double total = 0.0;
  for (const double x : logits) total += std::exp(x - largest);
  std::vector<double> out;
  for (const double x : logits) out.push_back(x - largest - std::log(total));
  return out;
}

// sum p (log p - log q), in nats (Kullback and Leibler, Ann. Math. Stat. 22, 1951). Infinite where `got` holds what is
// no number.
double divergence(Row exact, Row got) {
  if (!std::ranges::all_of(got, [](double x) { return std::isfinite(x); }))
    return std::numeric_limits<double>::infinity();
  const std::vector<double> p = log_probabilities(exact), q = log_probabilities(got);
  double sum = 0.0;
  for (std::size_t i = 0; i < p.size(); ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
  return std::max(0.0, sum);  // rounding may leave a little less
}

// What is no number is not likely at all.
std::vector<std::size_t> most_likely(Row logits, std::size_t count) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!std::isnan(logits[i])) order.push_back(i);
  }
  count = std::min(count, order.size());
  std::partial_sort(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
      [&](std::size_t a, std::size_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  order.resize(count);
  return order;
}

}  // namespace

void LogitsMeter::add(const std::string& call, const ref::Tensor& exact, const ref::Tensor& got,
                      const std::vector<double>& limits) {
  constexpr std::size_t kTop = 10;
  for (Index r = 0; r < exact.rows(); ++r) {
    const Row want = exact.row(r), have = got.row(r);
    if (rows_++ == 0) {
      first_exact_.assign(want.begin(), want.end());
      first_got_.assign(have.begin(), have.end());
    }
    reference_reacts_ |= !std::ranges::equal(want, first_exact_);
    backend_reacts_ |= !std::ranges::equal(have, first_got_);

    const double kl = divergence(want, have);
    sums_.mean_kl += kl;
    if (kl > sums_.max_kl || sums_.max_kl_call.empty()) {
      sums_.max_kl = kl;
      sums_.max_kl_call = call;
    }
    const std::vector<std::size_t> top = most_likely(want, kTop), own = most_likely(have, kTop);
    if (top.empty() || own.empty()) continue;
    if (top.front() == own.front()) {
      ++sums_.same_top1;
    } else if (want[top.front()] - want[own.front()] <= 2.0 * limits[static_cast<std::size_t>(r)]) {
      ++sums_.close_top1;
    }
    const auto shared =
        std::ranges::count_if(top, [&](std::size_t token) { return std::ranges::find(own, token) != own.end(); });
    sums_.mean_top10_overlap += static_cast<double>(shared) / static_cast<double>(top.size());
  }
}

std::optional<LogitsAgreement> LogitsMeter::result() const {
  if (rows_ == 0) return std::nullopt;
  LogitsAgreement out = sums_;
  out.rows = rows_;
  out.mean_kl /= static_cast<double>(rows_);
  out.mean_top10_overlap /= static_cast<double>(rows_);
  return out;
}

}  // namespace mlbench::harness
