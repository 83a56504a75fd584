#include "cli/interruption.h"

#include <csignal>

namespace mlbench::cli {
namespace {

volatile std::sig_atomic_t interruptions = 0;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void note(int signal) {
  interruptions = 1;
  (void)std::signal(signal, SIG_DFL);
}

}  // namespace

void note_interruptions() {
  (void)std::signal(SIGINT, note);
  (void)std::signal(SIGTERM, note);
}

bool interrupted() { return interruptions != 0; }

}  // namespace mlbench::cli
