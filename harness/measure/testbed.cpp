#include "harness/measure/testbed.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "core/hash.h"
#include "harness/tokens.h"

namespace mlbench::measure {

using backends::Method;

namespace {

// Rows of one call while a cache is filled.
constexpr Index kFillRows = 512;
// A long decode over a large vocabulary gives more than can be kept.
constexpr std::size_t kKeptBytes = std::size_t{32} << 20U;

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void poison(HostTensor& out) { std::ranges::fill(out.bytes(), std::byte{0xff}); }

double largest_difference(const HostTensor& a, const HostTensor& b) {
  const Tensor<double> x = a.widened(), y = b.widened();
  double largest = 0.0;
  for (std::size_t i = 0; i < x.values().size(); ++i) {
    const double difference = std::fabs(x.values()[i] - y.values()[i]);
    if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, difference);
  }
  return largest;
}

bool takes_one_sequence(Method method) {
  switch (method) {
    case Method::prefill:
    case Method::decode:
    case Method::prefill_to_last_hidden_states:
    case Method::decode_to_last_hidden_states: return true;
    default: return false;
  }
}

bool gives_every_row(Method method) { return method == Method::batch_verify; }

}  // namespace

bool decodes(Method method) {
  switch (method) {
    case Method::decode:
    case Method::batch_decode:
    case Method::decode_to_last_hidden_states:
    case Method::batch_decode_to_last_hidden_states: return true;
    default: return false;
  }
}

std::string why_not(Method method, const BenchPoint& point) {
  if (takes_one_sequence(method) && point.batch > 1)
    return fmt::format("{} takes one sequence, not {}", backends::name(method), point.batch);
  if (decodes(method) && point.gen == 0) return fmt::format("{}: nothing to decode with gen 0", backends::name(method));
  if (decodes(method) && point.depth + point.prompt == 0)
    return fmt::format("{}: nothing stands before it with prompt 0 and depth 0", backends::name(method));
  if (!decodes(method) && point.prompt == 0)
    return fmt::format("{}: nothing to take with prompt 0", backends::name(method));
  return "";
}

KvLimits Testbed::limits_of(const BenchPoint& point) {
  const Index length = point.depth + point.prompt + point.gen;
  const Index pages = (length + point.page_size - 1) / point.page_size;
  return {.max_batch_size = point.batch,
          .max_total_seq_len = point.batch * pages * point.page_size,
          .prefill_chunk_size = std::max({point.batch * point.prompt, point.batch, std::min(kFillRows, length)}),
          .page_size = point.page_size};
}

Testbed::Testbed(backends::Session& session, const ModelConfig& config, const BenchPoint& point,
                 std::vector<Method> methods, std::uint64_t seed)
    : session_(session),
      config_(config),
      point_(point),
      methods_(std::move(methods)),
      activations_(session.arithmetic().activations),
      cache_(session.create_paged_kv_cache(limits_of(point))) {
  for (Index s = 0; s < point.batch; ++s) {
    ids_.push_back(s);
    tokens_[0].push_back(harness::Tokens(config.vocab_size, scattered(seed, static_cast<std::uint64_t>(s)))
                             .take(point.depth + point.prompt + point.gen));
    cache_->add_sequence(s);
  }
  rows_ = HostTensor(activations_, {std::max(point.batch * point.prompt, point.batch), config.hidden_size});
  const bool takes_prompt = std::ranges::any_of(methods_, [](Method method) { return !decodes(method); });
  const Index before = point.depth + (takes_prompt ? 0 : point.prompt);
  fill(0, before);
  take_other_tokens(before, seed);
}

// The second turn's: from position `from` on, none is the first's where the vocabulary has two.
void Testbed::take_other_tokens(Index from, std::uint64_t seed) {
  tokens_[1] = tokens_[0];
  const Index others = config_.vocab_size - 1;
  if (others == 0) return;
  std::uint64_t drawn = 0;
  for (std::vector<std::int32_t>& all : tokens_[1]) {
    for (auto i = static_cast<std::size_t>(from); i < all.size(); ++i) {
      const Index step = 1 + static_cast<Index>(scattered(seed, drawn++) % static_cast<std::uint64_t>(others));
      all[i] = static_cast<std::int32_t>((all[i] + step) % config_.vocab_size);
    }
  }
}

// Tokens that stand there before anything is timed.
void Testbed::fill(Index from, Index count) {
  for (const SeqId id : ids_) {
    const std::vector<std::int32_t>& all = tokens(id);
    for (Index at = from; at < from + count;) {
      const Index length = std::min(kFillRows, from + count - at);
      HostTensor x(activations_, {length, config_.hidden_size}), out(activations_, {1, length, config_.hidden_size});
      session_.embed(std::span(all).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(length)), x.view());
      const SeqId ids[] = {id};
      const Index lengths[] = {length};
      cache_->begin_forward(ids, lengths, std::nullopt);
      session_.forward(Method::prefill_to_last_hidden_states,
                       std::move(x).reshaped({1, length, config_.hidden_size}).view(), {}, *cache_, out.view(),
                       nullptr);
      session_.synchronize();
      cache_->end_forward();
      at += length;
    }
  }
}

void Testbed::popn(Index count) {
  if (count == 0) return;
  for (const SeqId id : ids_) cache_->popn(id, count);
}

// One call: `count` tokens of every sequence from position `from` on.
double Testbed::run(Method method, Index from, Index count, const TensorView& out) {
  std::vector<std::int32_t> tokens, last;
  for (const std::vector<std::int32_t>& all : tokens_[turn_]) {
    tokens.insert(tokens.end(), all.begin() + from, all.begin() + from + count);
    last.push_back(static_cast<std::int32_t>(tokens.size()) - 1);
  }
  const std::vector<Index> lengths(ids_.size(), count);
  const auto n = static_cast<Index>(tokens.size());
  const Shape shape = decodes(method) ? Shape{n, 1, config_.hidden_size} : Shape{1, n, config_.hidden_size};
  const std::span<const std::int32_t> positions =
      method == Method::batch_prefill ? std::span<const std::int32_t>(last) : std::span<const std::int32_t>();

  const auto begin = std::chrono::steady_clock::now();
  session_.embed(tokens, {activations_, {n, config_.hidden_size}, rows_.bytes().data()});
  cache_->begin_forward(ids_, lengths, std::nullopt);
  session_.forward(method, {activations_, shape, rows_.bytes().data()}, positions, *cache_, out, nullptr);
  session_.synchronize();
  cache_->end_forward();
  return seconds_since(begin);
}

// The row of each sequence's last token.
HostTensor Testbed::result_rows(Method method, const HostTensor& out) const {
  const Index width = out.shape().back(), b = point_.batch;
  HostTensor rows(out.dtype(), {b, width});
  const std::size_t bytes = rows.bytes().size() / static_cast<std::size_t>(b);
  const bool all_rows = !decodes(method) && (backends::returns_hidden(method) || gives_every_row(method));
  for (Index s = 0; s < b; ++s) {
    const Index row = all_rows ? (s + 1) * point_.prompt - 1 : s;
    std::ranges::copy(out.bytes().subspan(static_cast<std::size_t>(row) * bytes, bytes),
                      rows.bytes().begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(s) * bytes));
  }
  return rows;
}

TimedMethod Testbed::prompt_once(std::size_t method, std::vector<KeptOutput>& outputs) {
  const Method what = methods_[method];
  const bool hidden = backends::returns_hidden(what);
  const Index n = point_.batch * point_.prompt, width = hidden ? config_.hidden_size : config_.vocab_size;
  const Index rows = hidden || gives_every_row(what) ? n : point_.batch;
  HostTensor out(hidden ? activations_ : DType::f32, {1, rows, width});
  poison(out);
  TimedMethod timed;
  timed.seconds = run(what, point_.depth, point_.prompt, out.view());
  outputs.push_back({method, 0, result_rows(what, out)});
  return timed;
}

// First and last step and those between that fit.
bool Testbed::keeps(Index step) const {
  const auto bytes = static_cast<std::size_t>(point_.batch * config_.vocab_size) * sizeof(float);
  const auto kept = std::max<Index>(2, static_cast<Index>(kKeptBytes / bytes));
  const Index stride = (point_.gen + kept - 1) / kept;
  return step % stride == 0 || step == point_.gen - 1;
}

TimedMethod Testbed::decode_once(std::size_t method, std::vector<KeptOutput>& outputs) {
  const Method what = methods_[method];
  const bool hidden = backends::returns_hidden(what);
  HostTensor out(hidden ? activations_ : DType::f32,
                 {point_.batch, 1, hidden ? config_.hidden_size : config_.vocab_size});
  TimedMethod timed;
  for (Index step = 0; step < point_.gen; ++step) {
    poison(out);
    timed.steps.push_back(run(what, point_.depth + point_.prompt + step, 1, out.view()));
    if (keeps(step)) outputs.push_back({method, step, result_rows(what, out)});
  }
  timed.seconds = std::accumulate(timed.steps.begin(), timed.steps.end(), 0.0);
  return timed;
}

std::vector<parallel::WorkerTimes> Testbed::worker_times(bool with_events) {
  auto* const measured = dynamic_cast<parallel::MeasuredWorkers*>(&session_);
  return measured == nullptr ? std::vector<parallel::WorkerTimes>() : measured->take_times(with_events);
}

std::vector<TimedMethod> Testbed::repeat() {
  std::vector<TimedMethod> times;
  std::vector<KeptOutput> outputs;
  const auto prompts = static_cast<std::size_t>(std::ranges::count_if(methods_, [](Method m) { return !decodes(m); }));
  for (std::size_t m = 0; m < methods_.size(); ++m) {
    (void)worker_times(false);
    const std::optional<double> before = joules();
    times.push_back(m < prompts ? prompt_once(m, outputs) : decode_once(m, outputs));
    const std::optional<double> after = joules();
    if (before && after) times.back().joules = *after - *before;
    times.back().workers = worker_times(true);
    if (m >= prompts) popn(point_.gen);
    if (m + 1 < prompts) popn(point_.prompt);
  }
  if (prompts > 0) popn(point_.prompt);
  look_at(std::move(outputs));
  turn_ = 1 - turn_;
  return times;
}

void Testbed::look_at(std::vector<KeptOutput> outputs) {
  std::vector<KeptOutput>& first = first_[turn_];
  if (first.empty()) {
    first = std::move(outputs);
    if (turn_ == 0 || tokens_[1] == tokens_[0]) return;
    for (std::size_t i = 0; i < first.size(); ++i) {
      if (first[i].rows == first_[0][i].rows) repeats_itself_.insert(first[i].method);
    }
    return;
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].rows == first[i].rows) continue;
    later_difference_ = std::max(later_difference_, largest_difference(outputs[i].rows, first[i].rows));
  }
}

}  // namespace mlbench::measure
