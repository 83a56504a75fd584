// A type's name for messages, without its namespaces: "NormCall".
#pragma once

#include <string_view>

namespace mlbench::gpu {

// GCC writes "... [with T = mlbench::gpu::NormCall; ...]", Clang "... [T = mlbench::gpu::NormCall]".
template <class T>
[[nodiscard]] constexpr std::string_view call_name() {
  std::string_view name = __PRETTY_FUNCTION__;
  constexpr std::string_view kBefore = "T = ";
  name.remove_prefix(name.find(kBefore) + kBefore.size());
  name = name.substr(0, name.find_first_of(";]"));
  const auto colons = name.rfind("::");
  return colons == std::string_view::npos ? name : name.substr(colons + 2);
}

}  // namespace mlbench::gpu
