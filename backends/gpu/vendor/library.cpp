#include "backends/gpu/vendor/library.h"

#include <dlfcn.h>

#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"

namespace mlbench::gpu::vendor {
namespace {

Error not_there(Wanted wanted, const std::string& why) {
  return Error(ErrorKind::unavailable, "backend.unavailable", fmt::format("{} cannot be opened: {}", wanted.what, why));
}

std::string last_reason() {
  const char* text = ::dlerror();
  return text == nullptr ? "no reason given" : one_line(text);
}

}  // namespace

Library::Library(Wanted wanted, std::span<const std::string> names) : wanted_(wanted) {
  std::vector<std::string> reasons;
  for (const std::string& name : names) {
    handle_ = ::dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL);
    name_ = name;
    if (handle_ != nullptr) return;
    reasons.push_back(last_reason());
  }
  throw not_there(wanted, fmt::format("{} ({})", fmt::join(reasons, "; "), wanted.where));
}

void* Library::address_of(const char* symbol) const {
  void* address = ::dlsym(handle_, symbol);
  if (address == nullptr) throw not_there(wanted_, fmt::format("{} has no {}", name_, symbol));
  return address;
}

}  // namespace mlbench::gpu::vendor
