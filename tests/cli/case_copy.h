// A data case of the project, copied so that a test may change it, and what the program says of it.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "golden/golden_file.h"
#include "tests/support/command.h"
#include "tests/support/temp_dir.h"

namespace mlbench::test {

// The architectures' names in tests/data/schedules-NAME.
inline constexpr const char* kCases[] = {"llama", "orion", "olmo", "phi", "gptbigcode"};
[[nodiscard]] std::string case_folder(const std::string& name);

class CaseCopy {
 public:
  explicit CaseCopy(const std::string& name);

  [[nodiscard]] std::string folder() const { return dir_ / "case"; }
  [[nodiscard]] std::string golden() const { return folder() + "/oracle.h5"; }
  [[nodiscard]] std::string scratch(const std::string& name) const { return dir_ / name; }

  // A field of config.json by its JSON pointer: "/rope_scaling/factor".
  [[nodiscard]] nlohmann::json config(const std::string& pointer) const;
  void set_config(const std::string& pointer, const nlohmann::json& value);

  [[nodiscard]] Shape weight_shape(const std::string& tensor) const;
  [[nodiscard]] float weight(const std::string& tensor, Index element) const;
  void set_weight(const std::string& tensor, Index element, float value);
  // Another value from the sixth decimal digit on.
  void change_sixth_digit(const std::string& tensor, Index element);

 private:
  [[nodiscard]] std::size_t weight_offset(const std::string& tensor, Index element) const;
  [[nodiscard]] nlohmann::json weights_header() const;

  TempDir dir_;
};

struct Verified {
  int exit_code = -1;
  nlohmann::json report;  // of --json; null where there is none
  std::string text;       // standard output
  std::string err;        // standard error
};

[[nodiscard]] std::vector<std::string> verify_arguments(const std::string& model, const std::string& golden);
// With the table on standard output and the report in a file.
[[nodiscard]] Verified verify(const CaseCopy& model, const std::vector<std::string>& more = {});

[[nodiscard]] std::string last_line(const std::string& text);
[[nodiscard]] std::vector<std::string> lines_of(const std::string& text);

// The last line that a run must end with when this is where it strays first; up to the values.
struct Place {
  std::string method, step, tap;
  Index layer = -1;
  Index batch_row = 0;
  Index position = 0;
  std::string element;
};
[[nodiscard]] std::string failure_prefix(const Place& place);
// Both the last line and the report's first_failure name this place; the run failed.
void expect_first_failure(const Verified& run, const Place& place);

// Exit code 2, nothing on standard output, and on standard error one line that names `file`.
void expect_refused(const Outcome& run, const std::string& file);

}  // namespace mlbench::test
