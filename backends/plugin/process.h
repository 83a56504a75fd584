// The program's side of a plug-in's process.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "backends/plugin/description.h"
#include "backends/plugin/wire.h"
#include "core/error.h"

namespace mlbench::plugin {

struct ProcessOptions {
  std::string program = "/proc/self/exe";  // run as: PROGRAM plugin-host LIBRARY PARENT
  double time_limit_s = 60.0;              // for the answer to one call; 0: none
};

// A process with the plug-in loaded, and nothing else in it. It dies with the thread that made it. No input or output
// of the program's reaches it but standard error, to which its standard output goes too.
class Process {
 public:
  using OnTap = std::function<void(Reader&)>;

  // Starts it and waits for its description. What goes wrong until then is ErrorKind::unavailable: what open_library()
  // throws, or plugin.load.
  Process(const std::string& library, ProcessOptions options);
  // Ends it: gives it some seconds to put its things in order.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] const Description& description() const { return description_; }
  // Memory that both sides see, empty at first.
  [[nodiscard]] int weights_fd() const { return weights_fd_; }
  [[nodiscard]] bool alive() const { return !dead_; }

  // Asks and waits. Throws what the plug-in threw. When its process ends or says what cannot be, backend.crashed or
  // backend.failed; when it does not answer in time, backend.timeout: the process is gone then, and every later call
  // throws the same. What `on_tap` throws is thrown when the call is over. The answer lies in memory of the channel.
  // `busy_s` of a call that is to take so long do not count.
  Reader ask(std::string_view doing, Op op, const Writer& request, const OnTap& on_tap = nullptr, double busy_s = 0.0);
  // Reads an answer; what read() finds malformed ends the process.
  template <class Read>
  void read(std::string_view doing, Reader answer, Read read) {
    try {
      read(answer);
      answer.end();
    } catch (const Malformed& nonsense) {
      give_up("backend.failed", doing, std::string("its answer cannot be: ") + nonsense.what());
    }
  }

 private:
  void start();
  void end(double patience_s);
  void hear_description();
  [[nodiscard]] Deadline deadline(double busy_s = 0.0) const;
  Reader hear(const OnTap& on_tap, const Deadline& deadline);
  template <class Talk>
  auto guarded(std::string_view doing, Talk talk) -> decltype(talk());
  // Ends the process for good and throws why.
  [[noreturn]] void give_up(const char* code, std::string_view doing, const std::string& why);
  // Waits until it has ended, and kills it when that takes longer than `patience_s`; how it ended.
  std::string reap(double patience_s);

  std::string library_;
  ProcessOptions options_;
  pid_t pid_ = -1;  // -1: reaped
  int weights_fd_ = -1;
  int requests_fd_ = -1, replies_fd_ = -1;  // of the channel's shared memory
  std::unique_ptr<Channel> channel_;
  Description description_;
  std::optional<Error> dead_;
};

}  // namespace mlbench::plugin
