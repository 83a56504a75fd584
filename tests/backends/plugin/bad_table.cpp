// Libraries that are refused, one for each macro.
#include <cstdlib>

#include <mlbench/plugin.h>

namespace {

[[maybe_unused]] mlbench_plugin whole_table() {
  mlbench_plugin table{};
  table.abi_version = MLBENCH_PLUGIN_ABI_VERSION;
  table.struct_size = sizeof table;
  table.name = "bad";
  return table;
}

#ifdef BAD_CRASH
struct Crash {
  Crash() { std::abort(); }
} crash;
#endif

}  // namespace

#ifdef BAD_SYMBOL
extern "C" MLBENCH_PLUGIN_EXPORT int some_other_entry() { return 0; }
#else
const mlbench_plugin* mlbench_plugin_entry() {
#ifdef BAD_NULL
  return nullptr;
#else
  static mlbench_plugin table = whole_table();
#ifdef BAD_VERSION
  table.abi_version = 77;
#elif defined(BAD_SIZE)
  table.struct_size = 24;
#elif defined(BAD_LARGE)
  table.struct_size = 0x40000000;
#elif defined(BAD_NAMELESS)
  table.name = nullptr;
#endif
  return &table;  // BAD_HOLE: every function is null
#endif
}
#endif
