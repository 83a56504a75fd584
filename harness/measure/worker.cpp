#include "harness/measure/worker.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <istream>
#include <limits>
#include <ostream>

#include <fmt/format.h>

#include "core/error.h"

extern char** environ;  // NOLINT(readability-redundant-declaration): of POSIX, in no header

namespace mlbench::measure {

using nlohmann::json;

namespace {

constexpr int kProtocol = 1;

struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
      throw Error(ErrorKind::internal, "bench.worker", fmt::format("no pipe: {}", std::strerror(errno)));
    read = ends[0];
    write = ends[1];
  }
};

json to_json(const std::vector<TimedMethod>& times) {
  json out = json::array();
  for (const TimedMethod& time : times)
    out.push_back({{"seconds", time.seconds},
                   {"steps", time.steps},
                   {"joules", time.joules ? json(*time.joules) : json(nullptr)}});
  return out;
}

json to_json(const std::vector<Verified>& verified) {
  json out = json::array();
  for (const Verified& v : verified)
    out.push_back({{"check", name(v.check)},
                   {"ratio", std::isfinite(v.ratio) ? json(v.ratio) : json(nullptr)},
                   {"text", v.text}});
  return out;
}

json answer(Contender& contender, std::size_t points, const json& request) {
  const auto point = [&](const char* what) {
    const auto index = request.at(what).get<std::size_t>();
    if (index >= points) throw request_error("bench.worker", fmt::format("point {} of {}", index, points));
    return index;
  };
  if (request.contains("repeat")) return {{"times", to_json(contender.repeat(point("repeat")))}};
  if (request.contains("check")) return {{"verified", to_json(contender.check(point("check")))}};
  if (request.contains("peak")) return {{"peak", contender.peak_memory()}};
  if (request.contains("release")) {
    contender.release();
    return json::object();
  }
  throw request_error("bench.worker", "an unknown request");
}

}  // namespace

WorkerContender::WorkerContender(std::vector<std::string> command, std::size_t points) : program_(command.front()) {
  const Pipe requests, answers;
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, requests.read, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, answers.write, STDOUT_FILENO);
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int failed = ::posix_spawn(&pid_, program_.c_str(), &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(requests.read);
  ::close(answers.write);
  to_ = ::fdopen(requests.write, "w");
  from_ = ::fdopen(answers.read, "r");
  if (failed != 0) {
    pid_ = -1;
    std::fclose(to_);
    std::fclose(from_);
    throw Error(ErrorKind::unavailable, "bench.worker",
                fmt::format("{}: cannot be started: {}", program_, std::strerror(failed)));
  }
  const json hello = json::parse(next_line(), nullptr, false);
  if (!hello.is_object() || hello.value("worker", 0) != kProtocol || hello.value("points", std::size_t{0}) != points) {
    throw Error(ErrorKind::unavailable, "bench.worker",
                fmt::format("{}: is no mlbench that can run these {} points beside this one", program_, points));
  }
  version_ = hello.value("version", "");
}

WorkerContender::~WorkerContender() {
  std::fclose(to_);
  std::fclose(from_);
  if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
}

Error WorkerContender::lost(const std::string& why) const {
  return Error(ErrorKind::unavailable, "bench.worker", fmt::format("{}: {}", program_, why));
}

std::string WorkerContender::next_line() {
  char* text = nullptr;
  std::size_t capacity = 0;
  const ssize_t length = ::getline(&text, &capacity, from_);
  std::string line = length > 0 ? std::string(text, static_cast<std::size_t>(length)) : "";
  std::free(text);  // NOLINT(cppcoreguidelines-no-malloc): getline's
  if (line.empty()) throw lost("ended before it answered");
  return line;
}

json WorkerContender::ask(const json& request) {
  const std::string line = request.dump() + "\n";
  if (std::fputs(line.c_str(), to_) < 0 || std::fflush(to_) != 0) throw lost("ended");
  const json reply = json::parse(next_line(), nullptr, false);
  if (!reply.is_object()) throw lost("gave an answer that cannot be");
  if (!reply.contains("error")) return reply;
  const json& error = reply["error"];
  throw Error(ErrorKind::internal, error.value("code", "bench.worker"), error.value("message", ""));
}

std::vector<TimedMethod> WorkerContender::repeat(std::size_t point) {
  const json reply = ask({{"repeat", point}});
  std::vector<TimedMethod> out;
  try {
    for (const json& time : reply.at("times"))
      out.push_back({time.at("seconds").get<double>(), time.at("steps").get<std::vector<double>>(),
                     time.at("joules").is_null() ? std::nullopt : std::optional(time.at("joules").get<double>())});
  } catch (const json::exception&) {
    throw lost("gave times that cannot be");
  }
  return out;
}

std::vector<Verified> WorkerContender::check(std::size_t point) {
  const json reply = ask({{"check", point}});
  std::vector<Verified> out;
  try {
    for (const json& v : reply.at("verified")) {
      const double ratio =
          v.at("ratio").is_null() ? std::numeric_limits<double>::infinity() : v.at("ratio").get<double>();
      const auto check = parse_bench_check(v.at("check").get<std::string>());
      if (!check) throw lost("gave a check that cannot be");
      out.push_back({*check, ratio, v.at("text").get<std::string>()});
    }
  } catch (const json::exception&) {
    throw lost("gave checks that cannot be");
  }
  return out;
}

std::uint64_t WorkerContender::peak_memory() { return ask({{"peak", true}}).value("peak", std::uint64_t{0}); }

void WorkerContender::release() { (void)ask({{"release", true}}); }

void serve(Contender& contender, std::size_t points, const std::string& version, std::istream& in, std::ostream& out) {
  out << json{{"worker", kProtocol}, {"points", points}, {"version", version}}.dump() << std::endl;
  std::string line;
  while (std::getline(in, line)) {
    json reply;
    try {
      reply = answer(contender, points, json::parse(line));
    } catch (const Error& error) {
      reply = {{"error", {{"code", error.code()}, {"message", error.message()}}}};
    } catch (const std::exception& error) {
      reply = {{"error", {{"code", "internal"}, {"message", error.what()}}}};
    }
    out << reply.dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
  }
}

}  // namespace mlbench::measure
