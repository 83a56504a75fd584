#include "tests/support/safetensors_writer.h"

#include <cstring>

#include <nlohmann/json.hpp>

#include "models/tensor_inventory.h"
#include "tests/support/temp_dir.h"

namespace mlbench::test {
namespace {

std::string_view stored_name(DType dtype) {
  switch (dtype) {
    case DType::f64: return "F64";
    case DType::f32: return "F32";
    case DType::bf16: return "BF16";
    case DType::f16: return "F16";
  }
  return "";
}

}  // namespace

std::string safetensors_bytes(const std::string& header, const std::string& data) {
  std::string out;
  for (std::size_t i = 0; i < 8; ++i) out += static_cast<char>((header.size() >> (8 * i)) & 0xFFU);
  return out + header + data;
}

std::string safetensors_bytes(const std::vector<StoredTensor>& tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  std::string data;
  for (const StoredTensor& tensor : tensors) {
    std::vector<std::byte> bytes(tensor.values.size() * size_bytes(tensor.dtype));
    narrow(tensor.dtype, tensor.values, bytes.data());
    const std::size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    header[tensor.name] = {
        {"dtype", stored_name(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  return safetensors_bytes(header.dump(), data);
}

std::vector<StoredTensor> tensors_of(const Model& model, DType dtype) {
  std::vector<TensorSpec> specs = global_tensors(model.config);
  for (Index layer = 0; layer < model.config.num_layers; ++layer) {
    for (TensorSpec& spec : layer_tensors(model.config, layer)) specs.push_back(std::move(spec));
  }
  std::vector<StoredTensor> out;
  for (const TensorSpec& spec : specs)
    out.push_back({spec.name, spec.shape, dtype, model.weights->get(spec.name).widened()});
  return out;
}

void write_checkpoint(const std::string& folder, const std::string& config_json,
                      const std::vector<StoredTensor>& tensors) {
  write_file(folder + "/config.json", config_json);
  write_file(folder + "/model.safetensors", safetensors_bytes(tensors));
}

}  // namespace mlbench::test
