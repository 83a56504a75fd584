#include "backends/plugin/library.h"

#include <dlfcn.h>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <string_view>

#include <fmt/format.h>

#include "backends/plugin/convert.h"

namespace mlbench::plugin {
namespace {

using Entry = const mlbench_plugin* (*)();

constexpr std::size_t kLongestMessage = 4096;

Error refused(const char* code, const std::string& path, const std::string& what) {
  return Error(ErrorKind::unavailable, code, fmt::format("{}: {}", path, what));
}

// dlerror() begins with the path that it was given, which the message has already.
std::string reason(const std::string& path) {
  std::string text = clean_text(::dlerror(), kLongestMessage);
  if (text.starts_with(path + ": ")) text.erase(0, path.size() + 2);
  return text;
}

struct Member {
  const char* name;
  std::size_t offset;
};

#define MLBENCH_MEMBER(name) \
  { #name, offsetof(mlbench_plugin, name) }
// Every pointer of the first revision's table that may not be null.
constexpr Member kNeeded[] = {
    MLBENCH_MEMBER(name),
    MLBENCH_MEMBER(version),
    MLBENCH_MEMBER(devices),
    MLBENCH_MEMBER(why_none),
    MLBENCH_MEMBER(supports),
    MLBENCH_MEMBER(memory),
    MLBENCH_MEMBER(load),
    MLBENCH_MEMBER(destroy_session),
    MLBENCH_MEMBER(arithmetic),
    MLBENCH_MEMBER(gives),
    MLBENCH_MEMBER(isolates_layers),
    MLBENCH_MEMBER(create_cache),
    MLBENCH_MEMBER(embed),
    MLBENCH_MEMBER(get_logits),
    MLBENCH_MEMBER(batch_select_last_hidden_states),
    MLBENCH_MEMBER(forward),
    MLBENCH_MEMBER(run_part),
    MLBENCH_MEMBER(destroy_cache),
    MLBENCH_MEMBER(add_sequence),
    MLBENCH_MEMBER(remove_sequence),
    MLBENCH_MEMBER(fork_sequence),
    MLBENCH_MEMBER(popn),
    MLBENCH_MEMBER(enable_sliding_window),
    MLBENCH_MEMBER(begin_forward),
    MLBENCH_MEMBER(end_forward),
    MLBENCH_MEMBER(commit_tree),
    MLBENCH_MEMBER(get_query_positions),
    MLBENCH_MEMBER(clear),
    MLBENCH_MEMBER(empty),
    MLBENCH_MEMBER(num_available_pages),
    MLBENCH_MEMBER(total_sequence_length),
    MLBENCH_MEMBER(sequence_length),
    MLBENCH_MEMBER(debug_get_kv),
    MLBENCH_MEMBER(debug_set_kv),
};
#undef MLBENCH_MEMBER
// What the first revision had.
constexpr std::size_t kFirstSize = offsetof(mlbench_plugin, measure_rates);
// With synchronize and measure_rates, these are all.
static_assert(kFirstSize == 2 * sizeof(std::uint32_t) + (std::size(kNeeded) + 1) * sizeof(void*));
static_assert(sizeof(mlbench_plugin) == kFirstSize + sizeof(void*));

bool is_null(const mlbench_plugin& table, const Member& member) {
  const void* pointer = nullptr;
  std::memcpy(&pointer, reinterpret_cast<const std::byte*>(&table) + member.offset, sizeof pointer);
  return pointer == nullptr;
}

// A later revision's table may be larger, but not by much, and by whole pointers.
bool sensible_size(std::uint32_t size) {
  constexpr std::uint32_t kLargest = 1U << 16U;
  return size >= kFirstSize && size <= kLargest && size % sizeof(void*) == 0;
}

void check_table(const std::string& path, const mlbench_plugin* table) {
  if (table == nullptr) throw refused("plugin.table", path, fmt::format("{} returned no table", MLBENCH_PLUGIN_ENTRY));
  if (table->abi_version != MLBENCH_PLUGIN_ABI_VERSION) {
    throw refused("plugin.version", path,
                  fmt::format("is built for version {} of mlbench/plugin.h, this program needs version {}",
                              table->abi_version, MLBENCH_PLUGIN_ABI_VERSION));
  }
  if (!sensible_size(table->struct_size)) {
    throw refused("plugin.table", path,
                  fmt::format("its table has {} bytes, version {} of mlbench/plugin.h has {} to {}", table->struct_size,
                              MLBENCH_PLUGIN_ABI_VERSION, kFirstSize, sizeof(mlbench_plugin)));
  }
  for (const Member& member : kNeeded) {
    if (!is_null(*table, member)) continue;
    throw refused("plugin.table", path,
                  fmt::format("its table lacks {}: all but synchronize and measure_rates are needed", member.name));
  }
  if (clean_text(table->name, 64).empty()) throw refused("plugin.table", path, "its table's name is empty");
}

}  // namespace

bool has_measure_rates(const mlbench_plugin& table) {
  return table.struct_size >= kFirstSize + sizeof(void*) && table.measure_rates != nullptr;
}

const mlbench_plugin* open_library(const std::string& path) {
  std::error_code no_matter;
  if (!std::filesystem::exists(path, no_matter)) throw refused("plugin.load", path, "there is no such file");
  if (!std::filesystem::is_regular_file(path, no_matter))
    throw refused("plugin.load", path, "is not a file: a shared library is needed");
  const std::string place = path.find('/') == std::string::npos ? "./" + path : path;
  void* library = ::dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw refused("plugin.load", path, "cannot be loaded: " + reason(place));
  void* symbol = ::dlsym(library, MLBENCH_PLUGIN_ENTRY);
  if (symbol == nullptr) {
    throw refused("plugin.symbol", path,
                  fmt::format("exports no {}, which a plug-in must (mlbench/plugin.h)", MLBENCH_PLUGIN_ENTRY));
  }
  const auto* table = reinterpret_cast<Entry>(symbol)();
  check_table(path, table);
  return table;
}

}  // namespace mlbench::plugin
