// Rooms include each other in one direction only. The table is the design's; a new room or arrow is written here first.
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace mlbench {
namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

const std::map<std::string, Names> kMayInclude = {
    {"core", {}},
    {"models", {"core"}},
    {"reference", {"core", "models"}},
    {"backends", {"core", "models"}},
    {"golden", {"core", "models"}},
    {"harness", {"core", "models", "reference", "backends", "golden"}},
    {"reports", {"core"}},
    {"cli", {"core", "models", "reference", "backends", "golden", "harness", "reports"}},
    {"bench", {"core", "models", "reference", "backends", "harness", "reports"}},
};

// Headers of our own, by what they are included as: those with a path from the root. A name without a folder would be
// found beside the file and tell nothing.
struct Include {
  std::string file, path;
};

std::vector<Include> includes_of(const fs::path& room) {
  static const std::regex kInclude(R"(^\s*#\s*include\s*["<]([^">]+)[">])");
  std::vector<Include> found;
  for (const auto& entry : fs::recursive_directory_iterator(room)) {
    const std::string extension = entry.path().extension().string();
    if (extension != ".h" && extension != ".cpp") continue;
    std::ifstream in(entry.path());
    std::smatch match;
    std::string line;
    while (std::getline(in, line)) {
      if (std::regex_search(line, match, kInclude)) found.push_back({entry.path().string(), match[1]});
    }
  }
  return found;
}

const fs::path kRoot = MLBENCH_SOURCE_DIR;

std::string room_of(const std::string& path) { return path.substr(0, path.find('/')); }

TEST(Includes, PointOneWay) {
  for (const auto& [room, allowed] : kMayInclude) {
    if (!fs::exists(kRoot / room)) continue;
    const std::vector<Include> includes = includes_of(kRoot / room);
    EXPECT_FALSE(includes.empty()) << room;
    for (const Include& include : includes) {
      const std::string to = room_of(include.path);
      if (!fs::exists(kRoot / include.path) || to == room) continue;
      EXPECT_TRUE(allowed.contains(to)) << include.file << " includes " << include.path;
    }
  }
}

// What the first test overlooks: our own headers by another path.
TEST(Includes, NameTheirRoom) {
  for (const auto& [room, allowed] : kMayInclude) {
    if (!fs::exists(kRoot / room)) continue;
    for (const Include& include : includes_of(kRoot / room)) {
      EXPECT_EQ(include.path.find(".."), std::string::npos) << include.file << " includes " << include.path;
      EXPECT_FALSE(include.path.find('/') == std::string::npos && fs::exists(kRoot / room / include.path))
          << include.file << " includes " << include.path << " without its room";
    }
  }
}

// The arrows, followed to their ends, lead nowhere back.
TEST(Includes, HaveNoCycle) {
  for (const auto& [room, direct] : kMayInclude) {
    Names reached;
    Names open = direct;
    while (!open.empty()) {
      const std::string next = *open.begin();
      open.erase(open.begin());
      if (!reached.insert(next).second) continue;
      open.insert(kMayInclude.at(next).begin(), kMayInclude.at(next).end());
    }
    EXPECT_FALSE(reached.contains(room)) << room;
  }
}

// Vendor and file libraries stay in their rooms.
TEST(Includes, OfLibrariesStayInTheirRooms) {
  const std::map<std::string, Names> owners = {
      {"hdf5.h", {"golden", "cli"}},     {"cblas.h", {"reference", "bench", "cli"}},
      {"CLI/CLI.hpp", {"cli", "bench"}}, {"dnnl.hpp", {"backends"}},
      {"sqlite3.h", {"reports"}},        {"zlib.h", {"reports"}},
      {"openssl/sha.h", {"reports"}}};
  for (const auto& [room, allowed] : kMayInclude) {
    if (!fs::exists(kRoot / room)) continue;
    for (const Include& include : includes_of(kRoot / room)) {
      const auto owner = owners.find(include.path);
      EXPECT_TRUE(owner == owners.end() || owner->second.contains(room))
          << include.file << " includes " << include.path;
    }
  }
}

TEST(Includes, KnowEveryRoom) {
  const Names no_rooms = {"tests", "build", "docs", "cmake", "setup", "scripts"};
  for (const auto& entry : fs::directory_iterator(kRoot)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_directory() || name.starts_with('.') || no_rooms.contains(name)) continue;
    EXPECT_TRUE(!fs::exists(entry.path() / "CMakeLists.txt") || kMayInclude.contains(name)) << name;
  }
}

}  // namespace
}  // namespace mlbench
