// Errors as tests ask for them: the code, and that the message is one line that says certain things.
#pragma once

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace mlbench::test {

// The error that `act` throws; fails the test and returns an empty internal one when it throws none.
template <class Act>
[[nodiscard]] Error error_of(const Act& act) {
  try {
    act();
  } catch (const Error& error) {
    EXPECT_EQ(error.message().find('\n'), std::string::npos) << "more than one line: " << error.message();
    return error;
  }
  ADD_FAILURE() << "no error was thrown";
  return Error(ErrorKind::internal, "", "");
}

// The code of the error that `act` throws, "" when it throws none.
template <class Act>
[[nodiscard]] std::string code_of(const Act& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.code();
  }
  return "";
}

}  // namespace mlbench::test
