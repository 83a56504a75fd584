// The layout of goldens that mlbench writes, version 1 (docs/goldens.md): the root says how the file came to be, and
// /steps/NNN holds what one call of an inference method gave, tap by tap.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "golden/golden_file.h"
#include "models/taps.h"

namespace mlbench::golden {

inline constexpr std::string_view kOwnFormat = "mlbench-golden";
inline constexpr int kOwnFormatVersion = 1;

// How a golden came to be. Texts are UTF-8.
struct Manifest {
  std::string program_version;
  std::string model;         // where it comes from, for people
  std::string architecture;  // the Hugging Face class, "LlamaForCausalLM"
  std::string config;        // JSON
  std::string weights;       // preset and seed, or a digest
  std::string weights_digest;
  std::uint64_t seed = 0;
  std::string dtype;       // what the weights were rounded to
  std::string arithmetic;  // JSON
  std::string plan;        // JSON: what was run

  friend bool operator==(const Manifest&, const Manifest&) = default;
};

// One call. Points into what the GoldenFile lists.
struct StepInfo {
  Index index = 0;
  std::string method;  // "batch_decode"
  std::string label;
  const DatasetInfo* positions = nullptr;            // [T]
  const DatasetInfo* sequence = nullptr;             // [T]: which sequence a row belongs to
  std::map<std::string, const DatasetInfo*> taps;    // by the tap's text
  std::map<std::string, const DatasetInfo*> limits;  // [rows], of some of the taps or none
};

[[nodiscard]] std::string step_path(Index step);  // "/steps/007"

// The tap that a text names, "layers.0.attn.q"; nothing where it names none.
[[nodiscard]] std::optional<TapId> parse_tap(std::string_view text);

// What the root's digest is of: every attribute of the file but that one.
[[nodiscard]] std::string digest_of_attributes(const FileInfo& info);

// Whether a file calls itself one of ours, of whatever version.
[[nodiscard]] bool is_own_layout(const GoldenFile& file);

// A golden of ours. Reads one dataset at a time, each checked against its digest.
class OwnGolden {
 public:
  // Checks the layout and the digest of all attributes; reads no values. `file` must outlive it. Throws request errors:
  // golden.version, golden.format, golden.digest.
  explicit OwnGolden(GoldenFile& file);

  [[nodiscard]] const Manifest& manifest() const { return manifest_; }
  [[nodiscard]] const std::vector<StepInfo>& steps() const { return steps_; }

  // Throw golden.digest, naming file and dataset, where values are not those that were written; golden.format where the
  // step has no such tap, or no limits for it.
  [[nodiscard]] Tensor<double> tap(const StepInfo& step, const std::string& tap);
  [[nodiscard]] Tensor<double> limits(const StepInfo& step, const std::string& tap);
  [[nodiscard]] Tensor<std::int64_t> positions(const StepInfo& step);
  [[nodiscard]] Tensor<std::int64_t> sequence(const StepInfo& step);

 private:
  [[nodiscard]] Tensor<double> read(const DatasetInfo* dataset, const StepInfo& step, const char* what,
                                    const std::string& tap);

  GoldenFile& file_;
  Manifest manifest_;
  std::vector<StepInfo> steps_;
};

}  // namespace mlbench::golden
