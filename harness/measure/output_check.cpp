#include "harness/measure/output_check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include <fmt/format.h>

#include "harness/chained_reference.h"
#include "harness/measure/cost.h"

namespace mlbench::measure {

using backends::Method;
using harness::Call;
using ref::Tensor;

namespace {

// Logits of one token of a sequence: what they are, and how far they may be off.
struct Known {
  std::vector<double> exact;
  double limit = 0.0;
};

using Place = std::pair<Index, Index>;  // sequence, position
using KnownLogits = std::map<Place, Known>;

// Collects the logits that the reference gives for chosen rows of calls.
class ReferenceLogits {
 public:
  ReferenceLogits(const ref::Reference& reference, const Model& model, const harness::ErrorModel& errors,
                  const KvLimits& limits, std::uint64_t seed)
      : chain_(reference, model, errors, seed, limits, harness::kMoved) {}

  void run(const Call& call, const std::vector<Place>& results) {
    chain_.run(call, [&](TapId id, const harness::TapRows&, const Tensor& exact, const std::vector<double>& limits) {
      if (id.tap != Tap::logits) return;
      for (std::size_t r = 0; r < results.size(); ++r) {
        const auto row = exact.row(static_cast<Index>(r));
        logits_[results[r]] = {{row.begin(), row.end()}, limits[r]};
      }
    });
  }
  [[nodiscard]] const KnownLogits& logits() const { return logits_; }

 private:
  harness::ChainedReference chain_;
  KnownLogits logits_;
};

harness::CacheOperation add(SeqId id) { return {harness::CacheOperation::Kind::add, id, 0, 0, 0}; }

// The whole run as calls: the depth in pieces, the prompt of all sequences at once, then the steps.
class WholeRun {
 public:
  WholeRun(const Testbed& bed, ReferenceLogits& logits) : bed_(bed), point_(bed.point()), logits_(logits) {
    for (Index s = 0; s < point_.batch; ++s) added_.push_back(add(s));
  }

  void run() {
    const Index piece = Testbed::limits_of(point_).prefill_chunk_size;
    for (Index s = 0; s < point_.batch; ++s) {
      for (Index at = 0; at < point_.depth; at += piece) call({s}, at, std::min(piece, point_.depth - at), false);
    }
    std::vector<Index> all;
    for (Index s = 0; s < point_.batch; ++s) all.push_back(s);
    if (point_.prompt > 0) call(all, point_.depth, point_.prompt, true);
    const bool steps = std::ranges::any_of(bed_.methods(), decodes);
    for (Index i = 0; steps && i < point_.gen; ++i) call(all, point_.depth + point_.prompt + i, 1, true);
  }

 private:
  void call(const std::vector<Index>& sequences, Index from, Index count, bool results) {
    Call call;
    call.label = fmt::format("position {}", from);
    call.before = std::exchange(added_, {});
    call.method = results ? Method::batch_prefill : Method::batch_prefill_to_last_hidden_states;
    std::vector<Place> places;
    for (const Index s : sequences) {
      const auto begin = bed_.tokens(s).begin() + from;
      call.ids.push_back(s);
      call.lengths.push_back(count);
      call.tokens.insert(call.tokens.end(), begin, begin + count);
      if (!results) continue;
      call.logit_positions.push_back(static_cast<std::int32_t>(call.tokens.size()) - 1);
      places.emplace_back(s, from + count - 1);
    }
    logits_.run(call, places);
  }

  const Testbed& bed_;
  const BenchPoint& point_;
  ReferenceLogits& logits_;
  std::vector<harness::CacheOperation> added_;
};

double largest_error(const std::vector<double>& expected, std::span<const double> got) {
  double largest = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double error = std::fabs(expected[i] - got[i]);
    if (!std::isfinite(error)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, error);
  }
  return largest;
}

double ratio_of(double error, double limit) {
  if (error <= limit) return limit > 0.0 ? error / limit : 0.0;
  return limit > 0.0 ? error / limit : std::numeric_limits<double>::infinity();
}

// What of a method was found so far.
class Finding {
 public:
  void see(Place place, double error, double limit) {
    ++rows_;
    const double ratio = ratio_of(error, limit);
    if (ratio <= result_.ratio && rows_ > 1) return;
    result_.ratio = ratio;
    worst_ = fmt::format("sequence {}, position {}: error {:.3g} of {:.3g}", place.first, place.second, error, limit);
  }
  [[nodiscard]] Verified result(BenchCheck passed, const std::string& how) {
    const bool good = rows_ > 0 && result_.ratio <= 1.0;
    result_.check = good ? passed : BenchCheck::failed;
    result_.text = good ? fmt::format("{} rows of logits {}", rows_, how) : "logits stray: " + worst_;
    return result_;
  }

 private:
  Verified result_;
  std::string worst_ = "none were kept";
  Index rows_ = 0;
};

// Kept rows as logits [b, V].
Tensor logits_of(const Testbed& bed, const KeptOutput& output) {
  if (!backends::returns_hidden(bed.methods()[output.method])) return output.rows.widened();
  HostTensor logits(DType::f32, {output.rows.shape()[0], bed.config().vocab_size});
  bed.session().get_logits(output.rows.view(), logits.view());
  bed.session().synchronize();
  return logits.widened();
}

Index position_of(const Testbed& bed, const KeptOutput& output) {
  const BenchPoint& point = bed.point();
  const Index prompted = point.depth + point.prompt;
  return decodes(bed.methods()[output.method]) ? prompted + output.step : prompted - 1;
}

// Later repetitions may differ from the first of the same tokens by what both may stray.
std::vector<Verified> results_of(const Testbed& bed, const KnownLogits& known, double widening, BenchCheck passed,
                                 const std::string& how) {
  std::vector<Finding> findings(bed.methods().size());
  double narrowest = std::numeric_limits<double>::infinity();
  for (const KeptOutput& output : bed.outputs()) {
    const Tensor logits = logits_of(bed, output);
    for (Index s = 0; s < logits.rows(); ++s) {
      const Place place{s, position_of(bed, output)};
      const Known& want = known.at(place);
      const double limit = widening * want.limit;
      narrowest = std::min(narrowest, limit);
      findings[output.method].see(place, largest_error(want.exact, logits.row(s)), limit);
    }
  }
  std::vector<Verified> out;
  for (Finding& finding : findings) out.push_back(finding.result(passed, how));
  for (std::size_t m = 0; m < out.size(); ++m) {
    if (!bed.repeats_itself(m) || out[m].check == BenchCheck::failed) continue;
    out[m] = {BenchCheck::failed, std::numeric_limits<double>::infinity(),
              "other tokens gave the same outputs: they are left from an earlier call"};
  }
  if (bed.later_difference() <= 2.0 * narrowest) return out;
  for (Verified& verified : out) {
    if (verified.check == BenchCheck::failed) continue;
    verified.check = BenchCheck::failed;
    verified.ratio = std::max(verified.ratio, ratio_of(bed.later_difference(), 2.0 * narrowest));
    verified.text = fmt::format("repetitions differ by up to {:.3g}: two runs may by {:.3g}", bed.later_difference(),
                                2.0 * narrowest);
  }
  return out;
}

// The backend's logits at chosen positions of one sequence, computed in one call on a cache of its own.
Tensor in_one_call(const Testbed& bed, Index sequence, const std::vector<std::int32_t>& positions) {
  const std::vector<std::int32_t>& tokens = bed.tokens(sequence);
  const auto n = static_cast<Index>(tokens.size());
  const Index page = bed.point().page_size;
  const auto cache = bed.session().create_paged_kv_cache({.max_batch_size = 1,
                                                          .max_total_seq_len = (n + page - 1) / page * page,
                                                          .prefill_chunk_size = n,
                                                          .page_size = page});
  const SeqId ids[] = {0};
  const Index lengths[] = {n};
  HostTensor x(bed.session().arithmetic().activations, {1, n, bed.config().hidden_size});
  HostTensor out(DType::f32, {1, static_cast<Index>(positions.size()), bed.config().vocab_size});
  bed.session().embed(tokens, {x.dtype(), {n, bed.config().hidden_size}, x.bytes().data()});
  cache->add_sequence(0);
  cache->begin_forward(ids, lengths, std::nullopt);
  bed.session().forward(Method::batch_prefill, x.view(), positions, *cache, out.view(), nullptr);
  bed.session().synchronize();
  cache->end_forward();
  return std::move(out).reshaped({static_cast<Index>(positions.size()), bed.config().vocab_size}).widened();
}

bool depends_on_length(const ModelConfig& config) {
  return config.rope.kind == RopeKind::dynamic || config.rope.kind == RopeKind::longrope;
}

class SampledCheck {
 public:
  SampledCheck(Testbed& bed, ReferenceLogits& logits, Index rows) : bed_(bed), logits_(logits), rows_(rows) {}

  std::vector<Verified> run() {
    KnownLogits known;
    Finding first;
    double widest = 0.0;
    for (Index s = 0; s < bed_.point().batch; ++s) {
      const std::vector<std::int32_t> early = early_positions(), timed = timed_positions();
      reference(s, early);
      std::vector<std::int32_t> positions = early;
      positions.insert(positions.end(), timed.begin(), timed.end());
      const Tensor own = in_one_call(bed_, s, positions);
      for (std::size_t i = 0; i < positions.size(); ++i) {
        const auto row = own.row(static_cast<Index>(i));
        const Place place{s, positions[i]};
        if (i >= early.size()) {
          known[place] = {{row.begin(), row.end()}, 0.0};
          continue;
        }
        const Known& exact = logits_.logits().at(place);
        widest = std::max(widest, exact.limit);
        first.see(place, largest_error(exact.exact, row), exact.limit);
      }
    }
    const Verified sampled = first.result(BenchCheck::sampled, "");
    if (sampled.check == BenchCheck::failed) return {bed_.methods().size(), sampled};
    for (auto& [place, logits] : known) logits.limit = widest;
    std::vector<Verified> out =
        results_of(bed_, known, 2.0, BenchCheck::sampled, "against one call's, whose first rows are the reference's");
    for (Verified& verified : out) verified.ratio = std::max(verified.ratio, sampled.ratio);
    return out;
  }

 private:
  [[nodiscard]] std::vector<std::int32_t> early_positions() const {
    std::vector<std::int32_t> out = {0};
    for (const Index at : {rows_ / 2, rows_ - 1}) {
      if (at > out.back()) out.push_back(static_cast<std::int32_t>(at));
    }
    return out;
  }
  [[nodiscard]] std::vector<std::int32_t> timed_positions() const {
    std::vector<std::int32_t> out;
    for (const KeptOutput& output : bed_.outputs()) {
      const auto at = static_cast<std::int32_t>(position_of(bed_, output));
      if (std::ranges::find(out, at) == out.end()) out.push_back(at);
    }
    return out;
  }
  void reference(Index sequence, const std::vector<std::int32_t>& positions) {
    Call call;
    call.label = fmt::format("sequence {}", sequence);
    call.before = {add(sequence)};
    call.method = Method::batch_prefill;
    call.ids = {sequence};
    call.lengths = {rows_};
    call.tokens.assign(bed_.tokens(sequence).begin(), bed_.tokens(sequence).begin() + rows_);
    call.logit_positions = positions;
    std::vector<Place> places;
    for (const std::int32_t position : positions) places.emplace_back(sequence, position);
    logits_.run(call, places);
  }

  Testbed& bed_;
  ReferenceLogits& logits_;
  Index rows_;  // of each sequence that the reference computes
};

}  // namespace

std::vector<Verified> check_outputs(Testbed& bed, const Model& model, const CheckOptions& options, Workers& workers) {
  const BenchPoint& point = bed.point();
  const ref::Reference reference(model, workers);
  const harness::ErrorModel errors(model, bed.session().arithmetic(), workers);
  const Index length = point.depth + point.prompt + point.gen;
  const CallCost whole = cost_of(model.config, *parse_dtype(point.dtype),
                                 {.batch = point.batch, .rows = length, .logit_rows = point.batch});
  constexpr auto runs = static_cast<double>(harness::kMoved + 1);
  const double share = options.most_flops / (runs * whole.flops);
  const auto rows = std::clamp<Index>(static_cast<Index>(share * static_cast<double>(length)), 1, length);
  const bool all = rows == length || depends_on_length(model.config);
  const KvLimits limits = Testbed::limits_of(point);
  ReferenceLogits logits(reference, model, errors, limits, options.seed);
  if (!all) return SampledCheck(bed, logits, std::min(rows, limits.prefill_chunk_size)).run();
  WholeRun(bed, logits).run();
  return results_of(bed, logits.logits(), 1.0, BenchCheck::passed, "against the reference");
}

}  // namespace mlbench::measure
