#include "harness/evidence.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "golden/hdf5_writer.h"

namespace mlbench::harness {
namespace {

using ref::Tensor;

// As BackendVerification::first_failure ranks them.
int rank(VerifyMode mode) {
  constexpr std::array kOrder = {VerifyMode::isolated, VerifyMode::exact, VerifyMode::chained};
  return static_cast<int>(std::find(kOrder.begin(), kOrder.end(), mode) - kOrder.begin());
}

void write(const Evidence& evidence, const Tensor& values, const std::string& path) {
  golden::Hdf5Writer file(path);
  const auto text = [&](const char* name, const std::string& value) { file.attribute("/", name, value); };
  text("call", evidence.check.call);
  text("method", evidence.check.method);
  text("mode", std::string(name(evidence.check.mode)));
  text("tap", evidence.check.tap);
  file.dataset("/" + evidence.check.tap, values.shape(), values.values());
  if (!evidence.inputs.empty()) file.group("/inputs");
  for (const auto& [tap, input] : evidence.inputs) file.dataset("/inputs/" + tap, input.shape(), input.values());
  file.finish();
}

}  // namespace

void EvidenceKeeper::see(const TapCheck& check, const Sight& sight) {
  if (check.passed || (kept_ && rank(kept_->check.mode) <= rank(check.mode))) return;
  Evidence evidence{check, sight.expected, sight.got, Tensor(sight.expected.shape()), {}};
  for (Index i = 0; i < evidence.limit.size(); ++i)
    evidence.limit.values()[static_cast<std::size_t>(i)] = sight.limit(i);
  if (sight.inputs != nullptr) {
    for (const auto& [tap, known] : *sight.inputs)
      evidence.inputs.emplace(tap == kPartInput ? "x" : std::string(name(tap)), known.value);
  }
  kept_ = std::move(evidence);
}

void save(const Evidence& evidence, const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw Error(ErrorKind::internal, "file.unwritable", fmt::format("{}: {}", folder, error.message()));
  write(evidence, evidence.expected, folder + "/expected.h5");
  write(evidence, evidence.got, folder + "/got.h5");
  write(evidence, evidence.limit, folder + "/limit.h5");
}

}  // namespace mlbench::harness
