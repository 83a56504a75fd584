#include "harness/soak/telemetry.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

namespace mlbench::soak {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

TelemetryLog::TelemetryLog(TelemetryOptions options) : options_(std::move(options)), interval_(options_.interval) {
  for (const TelemetrySource& source : options_.sources) telemetry_.sources.push_back(source.name);
  if (interval_ > 0.0) thread_ = std::thread([this] { run(); });
}

TelemetryLog::~TelemetryLog() {
  if (thread_.joinable()) (void)finish();
}

void TelemetryLog::run() {
  const Clock::time_point start = Clock::now();
  const auto now = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  bool last = false;
  while (!last) {
    sample(now());
    std::unique_lock lock(mutex_);
    if (finished_) break;
    last = changed_.wait_for(lock, std::chrono::duration<double>(interval_), [this] { return finished_; });
  }
  if (last) sample(now());
}

void TelemetryLog::sample(double seconds) {
  std::vector<Reading> readings;
  for (const TelemetrySource& source : options_.sources) std::ranges::move(source.read(), std::back_inserter(readings));
  const std::lock_guard lock(mutex_);
  telemetry_.seconds.push_back(seconds);
  for (const Reading& reading : readings) add(reading);
  for (TelemetrySeries& series : telemetry_.series) series.values.resize(telemetry_.seconds.size());
  if (telemetry_.seconds.size() > options_.most) thin_out();
}

void TelemetryLog::add(const Reading& reading) {
  auto at = std::ranges::find(telemetry_.series, reading.name, &TelemetrySeries::name);
  if (at == telemetry_.series.end()) {
    TelemetrySeries fresh{.name = reading.name, .unit = reading.unit, .counter = reading.counter, .values = {}};
    fresh.least = fresh.most = fresh.first = reading.value;
    telemetry_.series.push_back(std::move(fresh));
    counts_.push_back(0);
    at = std::prev(telemetry_.series.end());
  }
  TelemetrySeries& series = *at;
  const std::size_t count = ++counts_[static_cast<std::size_t>(at - telemetry_.series.begin())];
  series.values.resize(telemetry_.seconds.size());
  series.values.back() = reading.value;
  series.least = std::min(series.least, reading.value);
  series.most = std::max(series.most, reading.value);
  series.mean += (reading.value - series.mean) / static_cast<double>(count);
  series.last = reading.value;
}

void TelemetryLog::thin_out() {
  const auto halve = [](auto& values) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < values.size(); i += 2) values[kept++] = values[i];
    values.resize(kept);
  };
  halve(telemetry_.seconds);
  for (TelemetrySeries& series : telemetry_.series) halve(series.values);
  interval_ *= 2.0;
}

Telemetry TelemetryLog::finish() {
  {
    const std::lock_guard lock(mutex_);
    finished_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  for (const TelemetrySource& source : options_.sources) {
    for (const std::string& name : source.looked_for) {
      if (std::ranges::find(telemetry_.series, name, &TelemetrySeries::name) == telemetry_.series.end())
        telemetry_.not_known.push_back(name);
    }
  }
  for (const TelemetrySeries& series : telemetry_.series) {
    if (series.counter && series.last > series.first)
      telemetry_.warnings.push_back(fmt::format("{} grew by {:g} meanwhile", series.name, series.last - series.first));
    if (!series.counter && series.unit.empty() && series.most > 0.0)
      telemetry_.warnings.push_back(fmt::format("{} in {:.0f}% of the samples", series.name, 100.0 * series.mean));
  }
  return std::move(telemetry_);
}

}  // namespace mlbench::soak
