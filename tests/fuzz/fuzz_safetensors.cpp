// parse_safetensors over any bytes: it returns entries that lie inside the file, or throws one kind of error.
#include <cstddef>
#include <cstdint>
#include <span>

#include "models/safetensors.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mlbench;
  fuzz::expect_request_errors([&] {
    const auto entries = parse_safetensors(std::as_bytes(std::span(data, size)), "fuzz");
    std::size_t covered = entries.empty() ? size : entries.front().begin;
    for (const SafetensorsEntry& entry : entries) {
      fuzz::require(entry.begin == covered && entry.begin <= entry.end && entry.end <= size,
                    "entries cover the data once, in order");
      covered = entry.end;
    }
    fuzz::require(covered == size, "entries reach the end");
  });
  return 0;
}
