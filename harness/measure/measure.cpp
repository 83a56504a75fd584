#include "harness/measure/measure.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "harness/measure/rules.h"
#include "harness/measure/statistics.h"

namespace mlbench::measure {

namespace {

using Clock = std::chrono::steady_clock;

// With fewer, a comparison with another run sees little (docs/benchmark-statistics.md).
constexpr Index kLeastRepetitions = 20;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// Numbers for shuffling: the same on every machine.
class Shuffle {
 public:
  explicit Shuffle(std::uint64_t seed) : seed_(seed) {}
  template <class Values>
  void operator()(Values& values) {
    for (std::size_t i = values.size(); i > 1; --i)
      std::swap(values[i - 1], values[static_cast<std::size_t>(scattered(seed_, drawn_++) % i)]);
  }

 private:
  std::uint64_t seed_;
  std::uint64_t drawn_ = 0;
};

// One method of a point as one contender runs it.
struct Series {
  BenchRow row;
  WarmUp warmup;
  StoppingRule stopping;
  std::optional<double> joules = 0.0;  // of all samples; nothing once one of them has none

  explicit Series(const MeasureOptions& options)
      : warmup({.max_seconds = options.max_warmup}),
        stopping({.precision = options.precision,
                  .confidence = options.confidence,
                  .least = kLeastRepetitions,
                  .max_seconds = options.max_time}) {}
};

// One point as one contender runs it.
class Course {
 public:
  Course(Contender& contender, std::size_t index, const PointPlan& plan, const MeasureOptions& options)
      : contender_(contender), index_(index) {
    for (const backends::Method method : plan.methods) {
      Series& series = series_.emplace_back(options);
      series.row.point = plan.point;
      series.row.method = backends::name(method);
      series.row.decode = decodes(method);
    }
  }

  // `counts`: the repetition is a sample; else it warms up.
  void repeat(Clock::time_point begin, bool counts) {
    const double started = seconds_since(begin);
    try {
      const std::vector<TimedMethod> times = contender_.repeat(index_);
      for (std::size_t m = 0; m < series_.size(); ++m) {
        if (counts) {
          sample(series_[m], times[m], started);
        } else {
          warm_up(series_[m], times[m]);
        }
      }
    } catch (const Error& error) {
      fail(error);
    }
  }

  // Every method has settled, or has had its time.
  [[nodiscard]] bool warm() const {
    return failed_ || std::ranges::all_of(series_, [](const Series& s) { return s.warmup.done(); });
  }
  [[nodiscard]] bool done() const {
    return failed_ || std::ranges::all_of(series_, [](const Series& s) { return s.stopping.done(); });
  }
  [[nodiscard]] double progress() const {
    if (done()) return 1.0;
    double least = 1.0;
    for (const Series& series : series_) least = std::min(least, series.stopping.progress());
    return least;
  }

  // Nothing more is run: what the repetitions came to.
  void conclude(bool interrupted, const MeasureOptions& options) {
    std::vector<Verified> verified(series_.size());
    if (options.check && !interrupted && !failed_) {
      try {
        verified = contender_.check(index_);
      } catch (const Error& error) {
        fail(error);
      }
    }
    for (std::size_t m = 0; m < series_.size(); ++m) {
      BenchRow& row = series_[m].row;
      row.stop = series_[m].stopping.done() ? series_[m].stopping.reason() : BenchStop::interrupted;
      row.check = verified[m].check;
      row.check_ratio = verified[m].ratio;
      row.check_text = verified[m].text;
      const auto made = static_cast<double>(row.point.tokens(row.decode)) * static_cast<double>(row.samples.size());
      if (series_[m].joules && made > 0.0) row.joules_per_token = *series_[m].joules / made;
      row.peak_memory_bytes = contender_.peak_memory();
    }
  }

  void give(std::vector<BenchRow>& rows) {
    for (Series& series : series_) {
      if (!series.row.samples.empty() || !series.row.error.empty()) rows.push_back(std::move(series.row));
    }
  }

 private:
  static void warm_up(Series& series, const TimedMethod& time) {
    series.warmup.add(time.seconds);
    ++series.row.warmup_repetitions;
    series.row.warmup_seconds += time.seconds;
    series.row.steady = series.warmup.settled();
  }

  static void sample(Series& series, const TimedMethod& time, double started) {
    BenchRow& row = series.row;
    row.samples.push_back(time.seconds);
    row.started.push_back(started);
    if (row.decode) row.steps.push_back(time.steps);
    series.stopping.add(time.seconds);
    add_ranks(row, time);
    if (!time.joules) series.joules.reset();
    if (series.joules) *series.joules += *time.joules;
  }

  static void add_ranks(BenchRow& row, const TimedMethod& time) {
    row.ranks.resize(time.workers.size());
    for (std::size_t i = 0; i < row.ranks.size(); ++i) {
      const parallel::WorkerTimes& from = time.workers[i];
      RankTimes& to = row.ranks[i];
      const double communication = from.all_reduce + from.send + from.transfer;
      const double compute = from.busy - communication - from.receive;
      to.rank = static_cast<Index>(i);
      to.compute_seconds += compute;
      to.communication_seconds += communication;
      to.waiting_seconds += time.seconds - compute - communication;
      to.reduced_bytes += from.reduced_bytes;
      to.sent_bytes += from.sent_bytes;
      to.transfer_seconds += from.transfer;
      to.transferred_bytes += from.transferred_bytes;
      to.peak_memory_bytes = from.peak_memory_bytes;
      to.events.clear();
      for (const parallel::WorkerEvent& event : from.events)
        to.events.push_back({std::string(name(event.activity)), event.begin, event.end});
    }
  }

  void fail(const Error& error) {
    if (error.kind() == ErrorKind::unavailable) throw error;
    failed_ = true;
    for (Series& series : series_) series.row.error = fmt::format("{}: {}", error.code(), error.message());
  }

  Contender& contender_;
  std::size_t index_;
  std::vector<Series> series_;
  bool failed_ = false;
};

// The contenders' courses at one point. All methods and contenders warm up together and end together, so that samples
// pair up.
class Pairing {
 public:
  Pairing(std::span<Contender* const> contenders, std::size_t index, const PointPlan& plan,
          const MeasureOptions& options) {
    for (Contender* contender : contenders) courses_.emplace_back(*contender, index, plan, options);
  }

  void repeat(Clock::time_point begin, Shuffle& shuffle) {
    std::vector<Course*> order;
    for (Course& course : courses_) order.push_back(&course);
    shuffle(order);
    const bool counts = std::ranges::all_of(courses_, [](const Course& course) { return course.warm(); });
    for (Course* course : order) course->repeat(begin, counts);
  }
  [[nodiscard]] bool done() const {
    return std::ranges::all_of(courses_, [](const Course& course) { return course.done(); });
  }
  [[nodiscard]] double progress() const {
    double least = 1.0;
    for (const Course& course : courses_) least = std::min(least, course.progress());
    return least;
  }
  [[nodiscard]] std::vector<Course>& courses() { return courses_; }

 private:
  std::vector<Course> courses_;
};

class Run {
 public:
  Run(std::span<Contender* const> contenders, std::span<const PointPlan> points, const MeasureOptions& options)
      : contenders_(contenders), points_(points), options_(options), shuffle_(options.seed) {
    for (std::size_t i = 0; i < points.size(); ++i) pairings_.emplace_back(contenders, i, points[i], options);
  }

  void group(const std::vector<std::size_t>& group) {
    std::vector<std::size_t> left = group;
    while (!left.empty() && !interrupted()) {
      shuffle_(left);
      for (const std::size_t point : left) {
        show(point);
        pairings_[point].repeat(begin_, shuffle_);
        if (interrupted()) break;
      }
      std::erase_if(left, [&](std::size_t point) { return pairings_[point].done(); });
    }
    for (const std::size_t point : group) conclude(point);
    for (Contender* contender : contenders_) contender->release();
  }

  [[nodiscard]] std::vector<std::vector<BenchRow>> rows() {
    std::vector<std::vector<BenchRow>> out(contenders_.size());
    for (Pairing& pairing : pairings_) {
      for (std::size_t c = 0; c < contenders_.size(); ++c) pairing.courses()[c].give(out[c]);
    }
    return out;
  }

 private:
  [[nodiscard]] bool interrupted() const { return options_.interrupted && options_.interrupted(); }

  void conclude(std::size_t point) {
    if (options_.progress) options_.progress("checking " + describe(points_[point].point, ""), progress());
    for (Course& course : pairings_[point].courses()) course.conclude(interrupted(), options_);
  }
  [[nodiscard]] double progress() const {
    double sum = 0.0;
    for (const Pairing& pairing : pairings_) sum += pairing.progress();
    return sum / static_cast<double>(pairings_.size());
  }
  void show(std::size_t point) {
    if (options_.progress) options_.progress(describe(points_[point].point, "timing"), progress());
  }

  std::span<Contender* const> contenders_;
  std::span<const PointPlan> points_;
  const MeasureOptions& options_;
  Shuffle shuffle_;
  Clock::time_point begin_ = Clock::now();
  std::vector<Pairing> pairings_;
};

}  // namespace

std::vector<std::vector<BenchRow>> measure(std::span<Contender* const> contenders, std::span<const PointPlan> points,
                                           const std::vector<std::vector<std::size_t>>& groups,
                                           const MeasureOptions& options) {
  Run run(contenders, points, options);
  for (const std::vector<std::size_t>& group : groups) run.group(group);
  return run.rows();
}

}  // namespace mlbench::measure
