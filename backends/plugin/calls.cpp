#include "backends/plugin/calls.h"

#include <algorithm>
#include <string>

namespace mlbench::plugin {
namespace {

constexpr std::size_t kTextBytes = 1024;

bool is_code(const std::string& code) {
  const auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.'; };
  return code.find('.') != std::string::npos && std::ranges::all_of(code, allowed);
}

}  // namespace

std::int32_t fail(mlbench_error* error, std::int32_t status, std::string_view code, std::string_view message) {
  copy_text(code, error->code, sizeof error->code);
  copy_text(message, error->message, sizeof error->message);
  return status;
}

std::int32_t status_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::request: return MLBENCH_REQUEST;
    case ErrorKind::unavailable: return MLBENCH_UNAVAILABLE;
    case ErrorKind::internal: return MLBENCH_FAILED;
  }
  return MLBENCH_FAILED;
}

Error error_of(std::string_view doing, std::int32_t status, const mlbench_error& error) {
  std::string code = clean_text(error.code, sizeof error.code);
  std::string message = clean_text(error.message, sizeof error.message);
  if (message.empty()) message = "no reason is given";
  if (!message.starts_with(fmt::format("{}: ", doing))) message = fmt::format("{}: {}", doing, message);
  if (!is_code(code)) code = status == MLBENCH_REQUEST ? "backend.request" : "backend.failed";
  switch (status) {
    case MLBENCH_REQUEST: return request_error(code, message);
    case MLBENCH_UNAVAILABLE: return Error(ErrorKind::unavailable, code, message);
    case MLBENCH_FAILED: return Error(ErrorKind::internal, code, message);
    default: return backend_failed(fmt::format("{}: returned status {}, which there is not", doing, status));
  }
}

Error escaped(std::string_view doing, const char* what) {
  return backend_failed(fmt::format("{}: a C++ exception left the call{}{}", doing, what == nullptr ? "" : ": ",
                                    clean_text(what, kTextBytes)));
}

}  // namespace mlbench::plugin
