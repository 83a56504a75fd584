// What a caller asked for and cannot have; becomes MLBENCH_REQUEST.
#pragma once

#include <stdexcept>
#include <string>

namespace example {

class RequestError : public std::runtime_error {
 public:
  RequestError(const char* code, const std::string& message) : std::runtime_error(message), code_(code) {}
  [[nodiscard]] const char* code() const { return code_; }

 private:
  const char* code_;
};

}  // namespace example
