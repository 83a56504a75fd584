#include "tests/golden/example_golden.h"

#include <cmath>
#include <stdexcept>

#include "golden/golden_file.h"
#include "golden/hdf5_handle.h"

namespace mlbench::test {
namespace {

using namespace mlbench::golden;

FileHandle open_for_writing(const std::string& path) {
  FileHandle file(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT));
  if (!file.valid()) throw std::runtime_error("cannot open " + path);
  return file;
}

}  // namespace

Manifest example_manifest() {
  Manifest m;
  m.program_version = "0.1.0";
  m.model = "preset llama-tiny, \xc3\xa9t\xc3\xa9";
  m.architecture = "LlamaForCausalLM";
  m.config = R"({"hidden_size": 8})";
  m.weights = "synthetic, seed 7";
  m.weights_digest = "0123456789abcdef";
  m.seed = 7;
  m.dtype = "bf16";
  m.arithmetic = R"({"blas": "none"})";
  m.plan = R"({"steps": 2})";
  return m;
}

Tensor<double> example_values(const Shape& shape, double start) {
  Tensor<double> values(shape);
  double at = start;
  for (double& value : values.values()) value = std::sin(at += 0.7);
  return values;
}

void write_example_steps(GoldenWriter& writer) {
  GoldenWriter::Step prefill = writer.step("prefill", "two prompts", std::vector<std::int64_t>{0, 1, 2, 0, 1},
                                           std::vector<std::int64_t>{0, 0, 0, 1, 1});
  prefill.tap({Tap::embed, -1}, example_values({5, 8}, 1.0));
  prefill.tap({Tap::q, 0}, example_values({2, 5, 4}, 2.0));
  prefill.tap({Tap::logits, -1}, example_values({5, 11}, 3.0));
  prefill.limits({Tap::logits, -1}, example_values({5}, 4.0).values());
  GoldenWriter::Step decode =
      writer.step("batch_decode", "", std::vector<std::int64_t>{3, 2}, std::vector<std::int64_t>{0, 1});
  decode.tap({Tap::logits, -1}, example_values({2, 11}, 5.0));
}

void write_example_golden(const std::string& path) {
  GoldenWriter writer(path, example_manifest());
  write_example_steps(writer);
  writer.finish();
}

void remove_attribute_of(const std::string& path, const std::string& object, const std::string& name) {
  const FileHandle file = open_for_writing(path);
  if (H5Adelete_by_name(file.get(), object.c_str(), name.c_str(), H5P_DEFAULT) < 0)
    throw std::runtime_error("cannot remove " + name);
}

void set_attribute_of(const std::string& path, const std::string& object, const std::string& name,
                      const std::string& value) {
  const FileHandle file = open_for_writing(path);
  if (H5Aexists_by_name(file.get(), object.c_str(), name.c_str(), H5P_DEFAULT) > 0)
    H5Adelete_by_name(file.get(), object.c_str(), name.c_str(), H5P_DEFAULT);
  const TypeHandle type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.get(), value.size() + 1);
  const SpaceHandle space(H5Screate(H5S_SCALAR));
  const AttributeHandle attribute(H5Acreate_by_name(file.get(), object.c_str(), name.c_str(), type.get(), space.get(),
                                                    H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  if (!attribute.valid() || H5Awrite(attribute.get(), type.get(), value.c_str()) < 0)
    throw std::runtime_error("cannot write " + name);
}

void renew_digest(const std::string& path) {
  const std::string digest = digest_of_attributes(GoldenFile(path).info());
  set_attribute_of(path, "/", "digest", digest);
}

}  // namespace mlbench::test
