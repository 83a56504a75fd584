// The program's side of a plug-in's process.
#pragma once

#include <sys/types.h>

#include <string>

#include "backends/plugin/caller.h"
#include "backends/plugin/description.h"

namespace mlbench::plugin {

struct ProcessOptions {
  std::string program = "/proc/self/exe";  // run as: PROGRAM plugin-host LIBRARY PARENT
  double time_limit_s = 60.0;              // for the answer to one call; 0: none
};

// A process with the plug-in loaded, and nothing else in it. It dies with the thread that made it. No input or output
// of the program's reaches it but standard error, to which its standard output goes too.
class Process final : public Caller {
 public:
  // Starts it and waits for its description. What goes wrong until then is ErrorKind::unavailable: what open_library()
  // throws, or plugin.load.
  Process(const std::string& library, ProcessOptions options);
  // Ends it: gives it some seconds to put its things in order.
  ~Process() override;

  [[nodiscard]] const Description& description() const { return description_; }
  // Memory that both sides see, empty at first.
  [[nodiscard]] int weights_fd() const { return weights_fd_; }

 private:
  void start();
  void end(double patience_s);
  void hear_description();
  std::string how_it_ended() override;
  void end_it() override;
  // Waits until it has ended, and kills it when that takes longer than `patience_s`; how it ended.
  std::string reap(double patience_s);

  std::string library_;
  ProcessOptions options_;
  pid_t pid_ = -1;  // -1: reaped
  int weights_fd_ = -1;
  int requests_fd_ = -1, replies_fd_ = -1;  // of the channel's shared memory
  Description description_;
};

}  // namespace mlbench::plugin
