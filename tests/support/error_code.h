// Which error a call ends in.
#pragma once

#include <functional>
#include <string>

#include "core/error.h"

namespace mlbench::test {

// The code of the error that `call` throws; "none" where it throws none.
[[nodiscard]] inline std::string code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return "none";
}

}  // namespace mlbench::test
