#include "backends/parallel/rank_protocol.h"

#include <unistd.h>

#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"

namespace mlbench::parallel {

std::string host_name() {
  char name[256] = {};
  (void)::gethostname(name, sizeof name - 1);
  return name;
}

std::string to_string(const Meeting& meeting) {
  return fmt::format("{} {} {}", meeting.secret, meeting.port, fmt::join(meeting.addresses, " "));
}

Meeting parse_meeting(const std::string& text) {
  std::istringstream in(text);
  Meeting out;
  in >> out.secret >> out.port;
  for (std::string address; in >> address;) out.addresses.push_back(address);
  if (out.port < 1 || out.addresses.empty())
    throw request_error("usage", "mlbench-rank is started by the program itself, for --tp and --pp");
  return out;
}

void put(plugin::Writer& to, const Hello& hello) {
  to.text(hello.secret);
  to.text(hello.version);
  to.number(hello.line);
  for (const Index number : {hello.rank, hello.size, hello.pid, hello.processors}) to.number(number);
  to.text(hello.host);
}

void put(plugin::Writer& to, const WorkerTimes& times, double now) {
  for (const double seconds : {now, times.busy, times.all_reduce, times.send, times.receive, times.transfer})
    to.number(seconds);
  for (const std::uint64_t bytes :
       {times.reduced_bytes, times.sent_bytes, times.transferred_bytes, times.peak_memory_bytes})
    to.number(bytes);
  to.number<std::uint64_t>(times.events.size());
  for (const WorkerEvent& event : times.events) {
    to.number(event.activity);
    to.number(event.begin);
    to.number(event.end);
  }
}

WorkerTimes get_times(plugin::Reader& from, const std::function<double(double now)>& offset) {
  WorkerTimes out;
  const double shift = offset(from.number<double>());
  for (double* seconds : {&out.busy, &out.all_reduce, &out.send, &out.receive, &out.transfer})
    *seconds = from.number<double>();
  for (std::uint64_t* bytes : {&out.reduced_bytes, &out.sent_bytes, &out.transferred_bytes, &out.peak_memory_bytes})
    *bytes = from.number<std::uint64_t>();
  const auto count = from.number<std::uint64_t>();
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto activity = from.number<Activity>();
    if (activity > Activity::transfer) throw plugin::Malformed("an activity of no known kind");
    const double begin = from.number<double>() + shift;
    out.events.push_back({activity, begin, from.number<double>() + shift});
  }
  return out;
}

Hello get_hello(plugin::Reader& from) {
  Hello out;
  out.secret = from.text();
  out.version = from.text();
  out.line = from.number<Line>();
  for (Index* number : {&out.rank, &out.size, &out.pid, &out.processors}) *number = from.number<Index>();
  out.host = from.text();
  from.end();
  return out;
}

}  // namespace mlbench::parallel
