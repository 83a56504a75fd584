#include "models/weights_digest.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "core/hash.h"
#include "models/tensor_inventory.h"

namespace mlbench {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 22U;  // bytes

std::string digest_of(const WeightView& view, Workers& workers) {
  const std::size_t bytes = static_cast<std::size_t>(view.size()) * size_bytes(view.dtype);
  const std::size_t pieces = (bytes + kPiece - 1) / kPiece;
  std::vector<std::uint64_t> hashes(pieces);
  workers.each(static_cast<Index>(pieces), [&](Index i) {
    const std::size_t first = static_cast<std::size_t>(i) * kPiece;
    const auto* text = reinterpret_cast<const char*>(view.data) + first;
    hashes[static_cast<std::size_t>(i)] = fnv1a({text, std::min(kPiece, bytes - first)});
  });
  std::string out = fmt::format("{} {}x{}", name(view.dtype), view.rows, view.cols);
  for (const std::uint64_t hash : hashes) out += fmt::format(" {:016x}", hash);
  return out;
}

}  // namespace

std::string weights_digest(const Model& model, Workers& workers) {
  std::string all;
  const auto take = [&](const TensorSpec& spec) {
    all += fmt::format("{}: {}\n", spec.name, digest_of(model.weights->get(spec.name), workers));
  };
  for (const TensorSpec& spec : global_tensors(model.config)) take(spec);
  for (Index layer = 0; layer < model.config.num_layers; ++layer) {
    for (const TensorSpec& spec : layer_tensors(model.config, layer)) take(spec);
  }
  return fmt::format("{:016x}", fnv1a(all));
}

}  // namespace mlbench
