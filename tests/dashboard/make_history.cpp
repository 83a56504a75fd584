// make_history FILE RUNS [SEED [WITH_TAPS]]: a store of made-up runs, for trying the dashboard and for its pictures.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include <fmt/format.h>

#include "tests/dashboard/made_up.h"

namespace {

int make(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr, "make_history FILE RUNS [SEED [WITH_TAPS]]\n");
    return 2;
  }
  mlbench::test::MadeUpOptions options;
  options.runs = std::strtoull(argv[2], nullptr, 10);
  if (argc > 3) options.seed = std::strtoull(argv[3], nullptr, 10);
  if (argc > 4) options.with_taps = std::strtoull(argv[4], nullptr, 10);
  mlbench::reports::Store store(argv[1], mlbench::reports::Store::Access::write);
  for (std::size_t i = 0; i < options.runs; ++i) {
    const mlbench::test::MadeUpRun run = made_up_run(options, i);
    (void)store.add(run.head, run.document, run.environment);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return make(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "make_history: {}\n", error.what());
    return 1;
  }
}
