// What a fuzz target asks of the code under test. libFuzzer reports an abort with the input that led to it.
#pragma once

#include <cstdio>
#include <cstdlib>

#include "core/error.h"

namespace mlbench::fuzz {

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

// Runs `act`; it may throw request errors with a one-line message, and nothing else.
template <class Act>
void expect_request_errors(const Act& act) {
  try {
    act();
  } catch (const Error& error) {
    require(error.kind() == ErrorKind::request, "errors are the request's");
    require(!error.code().empty(), "errors have a code");
    require(error.message().size() < 2000, "messages are short");
    for (const char c : error.message()) require(static_cast<unsigned char>(c) >= 0x20, "messages are one line");
  }
}

}  // namespace mlbench::fuzz
