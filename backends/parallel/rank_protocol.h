// What the program and its ranks (mlbench-rank) have to know of each other.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "backends/parallel/worker_times.h"
#include "backends/plugin/wire.h"

namespace mlbench::parallel {

[[nodiscard]] std::string host_name();

// Where the program listens, as it is handed to rank 0, which tells the others: "SECRET PORT ADDRESS ADDRESS ...", in
// this variable of the environment.
inline constexpr const char* kMeetingVariable = "MLBENCH_RANK_MEETING";
struct Meeting {
  std::string secret;
  int port = 0;
  std::vector<std::string> addresses;  // of IPv4, best first
};
[[nodiscard]] std::string to_string(const Meeting& meeting);
// Throws request error `usage` for what is none.
[[nodiscard]] Meeting parse_meeting(const std::string& text);

// Every rank connects twice: for requests, and to be watched by a thread of its own.
enum class Line : std::uint32_t { requests, watch };

// The first message on each line.
struct Hello {
  std::string secret;
  std::string version;  // of the program; both must have one
  Line line = Line::requests;
  Index rank = 0, size = 0;
  std::string host;
  Index pid = 0;
  Index processors = 1;  // that it may run on
};
void put(plugin::Writer& to, const Hello& hello);
[[nodiscard]] Hello get_hello(plugin::Reader& from);

// What a rank's watched thread answers when it is asked what the rank is doing.
enum class Doing : unsigned char { idle = 'i', computing = 'c', waiting = 'w' };
inline constexpr unsigned char kWhatAreYouDoing = '?';

// The answer to Op::take_times; `now` of the rank's own clock.
void put(plugin::Writer& to, const WorkerTimes& times, double now);
// `offset`: what is added to a rank's times to make them this program's, of its `now`.
[[nodiscard]] WorkerTimes get_times(plugin::Reader& from, const std::function<double(double now)>& offset);

// Among the ranks of its machine.
struct RankPlace {
  Index local = 0, locals = 1;
  bool given = false;  // by a launcher, which may have bound it to processors already
};

}  // namespace mlbench::parallel
