#include "models/weights_digest.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "core/hash.h"
#include "models/tensor_inventory.h"

namespace mlbench {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 22U;  // bytes

std::string described(const WeightView& view) {
  return fmt::format("{} {}x{}", name(view.dtype), view.rows, view.cols);
}

std::size_t bytes_of(const WeightView& view) { return static_cast<std::size_t>(view.size()) * size_bytes(view.dtype); }

std::string_view bytes_from(const WeightView& view, std::size_t first, std::size_t count) {
  const auto* text = reinterpret_cast<const char*>(view.data) + first;
  return {text, std::min(count, bytes_of(view) - first)};
}

template <class DigestOf>
std::string digest_of_all(const Model& model, const DigestOf& digest_of) {
  std::string all;
  const auto take = [&](const TensorSpec& spec) {
    const WeightView& view = model.weights->get(spec.name);
    all += fmt::format("{}: {}{}\n", spec.name, described(view), digest_of(view));
  };
  for (const TensorSpec& spec : global_tensors(model.config)) take(spec);
  for (Index layer = 0; layer < model.config.num_layers; ++layer) {
    for (const TensorSpec& spec : layer_tensors(model.config, layer)) take(spec);
  }
  return fmt::format("{:016x}", fnv1a(all));
}

std::string digest_of(const WeightView& view, Workers& workers) {
  const std::size_t pieces = (bytes_of(view) + kPiece - 1) / kPiece;
  std::vector<std::uint64_t> hashes(pieces);
  workers.each(static_cast<Index>(pieces), [&](Index i) {
    hashes[static_cast<std::size_t>(i)] = fnv1a(bytes_from(view, static_cast<std::size_t>(i) * kPiece, kPiece));
  });
  std::string out;
  for (const std::uint64_t hash : hashes) out += fmt::format(" {:016x}", hash);
  return out;
}

}  // namespace

std::string weights_digest(const Model& model, Workers& workers) {
  return digest_of_all(model, [&](const WeightView& view) { return digest_of(view, workers); });
}

std::string weights_sample_digest(const Model& model) {
  constexpr std::size_t kSamples = 16, kSample = 64;  // bytes
  return digest_of_all(model, [&](const WeightView& view) {
    std::string samples;
    for (std::size_t i = 1; i <= kSamples; ++i) {
      const std::size_t end = bytes_of(view) * i / kSamples;
      samples += bytes_from(view, end - std::min(end, kSample), kSample);
    }
    return fmt::format(" {:016x}", fnv1a(samples));
  });
}

}  // namespace mlbench
