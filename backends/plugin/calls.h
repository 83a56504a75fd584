// Calls of C from either side: an Error of ours becomes a status and an mlbench_error, and these an Error again.
#pragma once

#include <exception>
#include <new>
#include <string_view>

#include <fmt/format.h>

#include "backends/plugin/convert.h"

namespace mlbench::plugin {

// ---- who is called ----

// Fills `error` in; returns the status.
std::int32_t fail(mlbench_error* error, std::int32_t status, std::string_view code, std::string_view message);
[[nodiscard]] std::int32_t status_of(ErrorKind kind);

// Runs what a function does; no exception leaves it.
template <class Do>
std::int32_t guarded(mlbench_error* error, Do run) {
  try {
    run();
    return MLBENCH_OK;
  } catch (const Error& failure) {
    return fail(error, status_of(failure.kind()), failure.code(), failure.message());
  } catch (const std::bad_alloc&) {
    return fail(error, MLBENCH_FAILED, "memory.exceeded", "memory ran out");
  } catch (const std::exception& failure) {
    return fail(error, MLBENCH_FAILED, "backend.failed", failure.what());
  }
}

// ---- who calls ----

// What a call that failed left behind.
[[nodiscard]] Error error_of(std::string_view doing, std::int32_t status, const mlbench_error& error);
// An exception came out of C.
[[nodiscard]] Error escaped(std::string_view doing, const char* what);

// Calls a function whose last parameter is the error.
template <class Function, class... Args>
void call(std::string_view doing, Function function, Args... args) {
  mlbench_error error{};
  error.struct_size = sizeof error;
  std::int32_t status = MLBENCH_FAILED;
  try {
    status = function(args..., &error);
  } catch (const std::exception& thrown) {  // in a process of its own it would have ended that
    throw escaped(doing, thrown.what());
  } catch (...) {
    throw escaped(doing, nullptr);
  }
  if (status != MLBENCH_OK) throw error_of(doing, status, error);
}

}  // namespace mlbench::plugin
