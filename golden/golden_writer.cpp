#include "golden/golden_writer.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "golden/digest.h"

namespace mlbench::golden {
namespace {

// The text as it will be read: no further than a NUL, and bytes that are no UTF-8 (a folder's name may have them)
// replaced.
std::string as_stored(const std::string& text) {
  using nlohmann::json;
  const json whole = text.substr(0, text.find('\0'));
  return json::parse(whole.dump(-1, ' ', false, json::error_handler_t::replace)).get<std::string>();
}

}  // namespace

GoldenWriter::GoldenWriter(const std::string& path, const Manifest& manifest) : file_(path) {
  const auto text = [&](const char* name, const std::string& value) {
    written_.attributes[name] = as_stored(value);
    file_.attribute("/", name, written_.attributes[name]);
  };
  const auto number = [&](const char* name, std::uint64_t value) {
    file_.attribute("/", name, value);
    written_.attributes[name] = fmt::format("{}", value);
  };
  text("format", std::string(kOwnFormat));
  number("format_version", kOwnFormatVersion);
  text("program_version", manifest.program_version);
  text("model", manifest.model);
  text("architecture", manifest.architecture);
  text("config", manifest.config);
  text("weights", manifest.weights);
  text("weights_digest", manifest.weights_digest);
  number("seed", manifest.seed);
  text("dtype", manifest.dtype);
  text("arithmetic", manifest.arithmetic);
  text("plan", manifest.plan);
  file_.group("/steps");
}

void GoldenWriter::group(const std::string& path, const Attributes& attributes) {
  file_.group(path);
  for (const auto& [name, value] : attributes) file_.attribute(path, name, value);
  written_.groups.push_back({path, attributes});
}

template <class T>
void GoldenWriter::dataset(const std::string& path, const Shape& shape, std::span<const T> values) {
  const std::string digest = digest_of(shape, values);
  file_.dataset(path, shape, values);
  file_.attribute(path, "digest", digest);
  DatasetInfo info;
  info.path = path;
  info.attributes["digest"] = digest;
  written_.datasets.push_back(std::move(info));
}

GoldenWriter::Step GoldenWriter::step(const std::string& method, const std::string& label,
                                      std::span<const std::int64_t> positions, std::span<const std::int64_t> sequence) {
  const std::string path = step_path(steps_++);
  group(path, {{"method", as_stored(method)}, {"label", as_stored(label)}});
  dataset(path + "/positions", {std::ssize(positions)}, positions);
  dataset(path + "/sequence", {std::ssize(sequence)}, sequence);
  group(path + "/taps", {});
  return Step(*this, path);
}

void GoldenWriter::Step::tap(TapId id, const Tensor<double>& values) {
  writer_.dataset(fmt::format("{}/taps/{}", path_, to_string(id)), values.shape(), values.values());
}

void GoldenWriter::Step::limits(TapId id, std::span<const double> rows) {
  if (!has_limits_) writer_.group(path_ + "/limits", {});
  has_limits_ = true;
  writer_.dataset(fmt::format("{}/limits/{}", path_, to_string(id)), {std::ssize(rows)}, rows);
}

void GoldenWriter::finish() {
  file_.attribute("/", "digest", digest_of_attributes(written_));
  file_.finish();
}

}  // namespace mlbench::golden
