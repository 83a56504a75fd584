// The process that a plug-in lives in: what it does from its start to its end.
#pragma once

#include <sys/types.h>

#include <string>

namespace mlbench::plugin {

// Where the program that starts it puts its end of the socket, and memory that both share.
inline constexpr int kChannelFd = 3;
inline constexpr int kWeightsFd = 4;
inline constexpr int kRequestsFd = 5;  // large messages, to it
inline constexpr int kRepliesFd = 6;   // and from it

// Loads the library and answers what it is asked over kChannelFd, until that is closed; then the process ends. It ends
// at once when `parent` does. Throws a request error `usage` where it was not started by this program.
[[noreturn]] void host_plugin(const std::string& library, pid_t parent);

}  // namespace mlbench::plugin
