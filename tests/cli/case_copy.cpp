#include "tests/cli/case_copy.h"

#include <cstring>
#include <filesystem>

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace mlbench::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::uint64_t header_bytes(const std::string& file) {
  std::uint64_t size = 0;
  std::memcpy(&size, file.data(), sizeof size);
  return size;
}

}  // namespace

std::string case_folder(const std::string& name) { return std::string(MLBENCH_TEST_DATA) + "/schedules-" + name; }

CaseCopy::CaseCopy(const std::string& name) {
  fs::create_directory(folder());
  for (const char* file : {"config.json", "model.safetensors", "oracle.h5"}) {
    const std::string copy = folder() + "/" + file;
    fs::copy_file(case_folder(name) + "/" + file, copy);
    fs::permissions(copy, fs::perms::owner_write, fs::perm_options::add);
  }
}

json CaseCopy::config(const std::string& pointer) const {
  return json::parse(read_file(folder() + "/config.json")).at(json::json_pointer(pointer));
}

void CaseCopy::set_config(const std::string& pointer, const json& value) {
  json config = json::parse(read_file(folder() + "/config.json"));
  config[json::json_pointer(pointer)] = value;
  write_file(folder() + "/config.json", config.dump(1));
}

json CaseCopy::weights_header() const {
  const std::string file = read_file(folder() + "/model.safetensors");
  return json::parse(file.substr(8, header_bytes(file)));
}

Shape CaseCopy::weight_shape(const std::string& tensor) const {
  return weights_header().at(tensor).at("shape").get<Shape>();
}

std::size_t CaseCopy::weight_offset(const std::string& tensor, Index element) const {
  const std::string file = read_file(folder() + "/model.safetensors");
  const json entry = weights_header().at(tensor);
  const auto begin = entry.at("data_offsets").at(0).get<std::size_t>();
  const auto end = entry.at("data_offsets").at(1).get<std::size_t>();
  const std::size_t at = begin + static_cast<std::size_t>(element) * sizeof(float);
  if (entry.at("dtype") != "F32" || at + sizeof(float) > end) throw std::runtime_error("no such weight in " + tensor);
  return 8 + header_bytes(file) + at;
}

float CaseCopy::weight(const std::string& tensor, Index element) const {
  float value = 0.0F;
  const std::size_t at = weight_offset(tensor, element);
  std::memcpy(&value, read_file(folder() + "/model.safetensors").data() + at, sizeof value);
  return value;
}

void CaseCopy::set_weight(const std::string& tensor, Index element, float value) {
  const std::size_t at = weight_offset(tensor, element);
  std::string file = read_file(folder() + "/model.safetensors");
  std::memcpy(file.data() + at, &value, sizeof value);
  write_file(folder() + "/model.safetensors", file);
}

void CaseCopy::change_sixth_digit(const std::string& tensor, Index element) {
  const float before = weight(tensor, element);
  const auto after = static_cast<float>(static_cast<double>(before) * (1.0 + 4e-6));
  if (before == after) throw std::runtime_error("a weight of 0 has no sixth digit: " + tensor);
  set_weight(tensor, element, after);
}

std::vector<std::string> verify_arguments(const std::string& model, const std::string& golden) {
  return {"verify", "--model", model, "--golden", golden, "--backend", "reference", "--threads", "1"};
}

Verified verify(const CaseCopy& model, const std::vector<std::string>& more) {
  const std::string file = model.scratch("report.json");
  std::vector<std::string> args = verify_arguments(model.folder(), model.golden());
  args.insert(args.end(), {"--json", file});
  args.insert(args.end(), more.begin(), more.end());
  const Outcome run = run_program(args);
  const json report = fs::exists(file) ? json::parse(read_file(file)) : json();
  return {run.exit_code, report, run.out, run.err};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

std::string last_line(const std::string& text) {
  const std::vector<std::string> lines = lines_of(text);
  return lines.empty() ? "" : lines.back();
}

std::string failure_prefix(const Place& place) {
  const std::string layer = place.layer < 0 ? "" : fmt::format("layer {}, ", place.layer);
  return fmt::format("first tap that strays: {} ({}), batch row {}, position {}, {}tap {}, element {}: golden ",
                     place.method, place.step, place.batch_row, place.position, layer, place.tap, place.element);
}

void expect_first_failure(const Verified& run, const Place& place) {
  EXPECT_EQ(run.exit_code, 1) << run.err;
  EXPECT_THAT(last_line(run.text), StartsWith(failure_prefix(place)));
  ASSERT_TRUE(run.report.is_object());
  EXPECT_EQ(run.report["verdict"], "failed");
  const json& first = run.report["first_failure"];
  ASSERT_TRUE(first.is_object());
  EXPECT_EQ(first["method"], place.method);
  EXPECT_EQ(first["step"], place.step);
  EXPECT_EQ(first["tap"], place.tap);
  EXPECT_EQ(first["layer"], place.layer < 0 ? json() : json(place.layer));
  EXPECT_EQ(first["worst"]["batch_row"], place.batch_row);
  EXPECT_EQ(first["worst"]["position"], place.position);
  EXPECT_EQ(first["worst"]["element"], place.element);
}

void expect_refused(const Outcome& run, const std::string& file) {
  EXPECT_EQ(run.exit_code, 2) << run.err;
  EXPECT_EQ(run.out, "");
  EXPECT_THAT(run.err, StartsWith("mlbench: "));
  EXPECT_THAT(run.err, HasSubstr(file));
  EXPECT_EQ(lines_of(run.err).size(), 1U) << run.err;
  EXPECT_TRUE(run.err.ends_with("\n"));
}

}  // namespace mlbench::test
