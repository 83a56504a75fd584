// Samples what a machine shows of itself, about once a second, in a thread of its own.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/telemetry.h"

namespace mlbench::soak {

// Where readings come from.
struct TelemetrySource {
  std::string name;                     // "/proc and /sys"
  std::vector<std::string> looked_for;  // names of the readings that it may give
  std::function<std::vector<Reading>()> read;
};

// Processor clocks (the mean and the lowest of all), the highest temperature, how often heat throttled cores and
// packages, memory errors as EDAC counts them, power by RAPL, memory in use by this machine; of what is there.
[[nodiscard]] TelemetrySource processor_source(const std::filesystem::path& proc = "/proc",
                                               const std::filesystem::path& sys = "/sys");
// One AMD device, by its folder below /sys/class/drm: clocks, temperatures, power, memory, errors of its memory.
[[nodiscard]] TelemetrySource amdgpu_source(const std::filesystem::path& device);
// The folders of all AMD devices, by their place on the PCI bus.
[[nodiscard]] std::vector<std::filesystem::path> amdgpu_devices(const std::filesystem::path& sys = "/sys");
// One NVIDIA device by its index, through nvidia-smi.
[[nodiscard]] TelemetrySource nvidia_source(int index);
// What `nvidia-smi --query-gpu=kNvidiaFields --format=csv,noheader,nounits` prints of one device. Fields that it says
// to be not available are left out.
inline constexpr const char* kNvidiaFields =
    "clocks.sm,clocks.mem,temperature.gpu,power.draw,memory.used,utilization.gpu,clocks_throttle_reasons.hw_slowdown,"
    "clocks_throttle_reasons.sw_thermal_slowdown,ecc.errors.corrected.volatile.total,"
    "ecc.errors.uncorrected.volatile.total";
[[nodiscard]] std::vector<Reading> parse_nvidia_line(const std::string& text);

// The sources that tell of a backend's device: the processor's always, a GPU's beside it.
[[nodiscard]] std::vector<TelemetrySource> sources_for(const std::string& backend, const std::string& device);

struct TelemetryOptions {
  std::vector<TelemetrySource> sources;
  double interval = 1.0;    // seconds; 0: no thread, samples are those that sample() is called for
  std::size_t most = 2048;  // samples that are kept: beyond, every other one goes and half as many come
};

// Takes samples in a thread of its own from its beginning to finish(), one at either end.
class TelemetryLog {
 public:
  explicit TelemetryLog(TelemetryOptions options);
  ~TelemetryLog();
  TelemetryLog(const TelemetryLog&) = delete;
  TelemetryLog& operator=(const TelemetryLog&) = delete;

  [[nodiscard]] Telemetry finish();
  // Takes a sample now, at this time; what the thread does.
  void sample(double seconds);

 private:
  void run();
  void add(const Reading& reading);
  void thin_out();

  TelemetryOptions options_;
  double interval_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool finished_ = false;
  Telemetry telemetry_;
  std::vector<std::size_t> counts_;  // of each series' samples, for its mean
  std::thread thread_;
};

}  // namespace mlbench::soak
