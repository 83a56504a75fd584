// The libraries of the tests, opened in both ways, and models to load.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "backends/backend.h"
#include "backends/plugin/open.h"
#include "models/weights.h"

namespace mlbench::plugin::test {

// In a process of its own; the tests' program is not the one that can be it.
[[nodiscard]] OpenOptions in_child(double time_limit_s = 60.0);
[[nodiscard]] std::unique_ptr<backends::Backend> open_child(const std::string& library, double time_limit_s = 60.0);
[[nodiscard]] std::unique_ptr<backends::Backend> open_here(const std::string& library);

// The architecture's small preset, two layers unless `overrides` say otherwise.
[[nodiscard]] Model small_model(Architecture architecture, DType dtype = DType::f32,
                                const nlohmann::json& overrides = nlohmann::json::object());

inline constexpr KvLimits kLimits = {
    .max_batch_size = 4, .max_total_seq_len = 128, .prefill_chunk_size = 48, .page_size = 16};

// What goes wrong in the library MLBENCH_PLUGIN_FAULTY, and where, as long as this lives: "abort forward".
class Fault {
 public:
  explicit Fault(const char* what);
  ~Fault();
  Fault(const Fault&) = delete;
  Fault& operator=(const Fault&) = delete;
};

// "code: message" of what the call throws; empty where it throws nothing.
template <class Call>
std::string error_of(Call call);

// Processes whose parent is `parent`, those that nobody has waited for among them; and how many are this process's.
[[nodiscard]] std::vector<pid_t> children_of(pid_t parent);
[[nodiscard]] int children();

template <class Call>
std::string error_of(Call call) {
  try {
    call();
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace mlbench::plugin::test
