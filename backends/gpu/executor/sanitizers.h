// Whether AddressSanitizer looks on: it is to be told of stacks and of memory that nobody may touch.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define MLBENCH_EXECUTOR_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MLBENCH_EXECUTOR_ASAN
#endif
#endif
#if defined(MLBENCH_EXECUTOR_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
