#include "backends/plugin/caller.h"

#include <algorithm>
#include <exception>

#include <fmt/format.h>

namespace mlbench::plugin {
namespace {

using Clock = std::chrono::steady_clock;

struct Stopped {};

Error error_of(Reader& answer) {
  const auto kind = answer.number<ErrorKind>();
  const std::string code = answer.text();
  const std::string message = answer.text();
  answer.end();
  if (kind != ErrorKind::request && kind != ErrorKind::unavailable && kind != ErrorKind::internal)
    throw Malformed("an error of no known kind");
  return Error(kind, code, message);
}

}  // namespace

Deadline Caller::deadline(double busy_s) const {
  if (time_limit_s_ <= 0.0) return std::nullopt;
  // Longer than a century is forever, and would not fit.
  const double seconds = std::min(time_limit_s_ + std::max(0.0, busy_s), 3e9);
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

Reader Caller::hear(const OnTap& on_tap, const Deadline& deadline) {
  std::exception_ptr thrown;
  while (true) {
    const Channel::Message message = channel_->receive(deadline);
    Reader reader(message.bytes);
    switch (static_cast<Reply>(message.kind)) {
      case Reply::tap:
        if (!on_tap) throw Malformed("a tap that was not asked for");
        try {
          if (!thrown) on_tap(reader);
        } catch (const Malformed&) {
          throw;
        } catch (...) {
          thrown = std::current_exception();
        }
        break;
      case Reply::error: throw error_of(reader);
      case Reply::ok:
        if (thrown) std::rethrow_exception(thrown);
        return reader;
      case Reply::stopped: throw Stopped();
      default: throw Malformed("a message of no known kind");
    }
  }
}

template <class Talk>
auto Caller::guarded(std::string_view doing, Talk talk) -> decltype(talk()) {
  if (dead_) throw Error(*dead_);
  try {
    return talk();
  } catch (const Closed&) {
    give_up("backend.crashed", doing, how_it_ended());
  } catch (const Stopped&) {
    give_up("parallel.stopped", doing, "it was told to end because of another");
  } catch (const TimedOut&) {
    give_up("backend.timeout", doing,
            fmt::format("no answer within {:g} s (--time-limit): its process was ended", time_limit_s_));
  } catch (const Malformed& nonsense) {
    give_up("backend.failed", doing, std::string("its answer cannot be: ") + nonsense.what());
  }
}

Reader Caller::hear(std::string_view doing) {
  return guarded(doing, [&] { return hear(nullptr, deadline(0.0)); });
}

Reader Caller::ask(std::string_view doing, Op op, const Writer& request, const OnTap& on_tap, double busy_s) {
  return guarded(doing, [&] {
    const Deadline deadline = this->deadline(busy_s);
    channel_->send(static_cast<std::uint32_t>(op), request, deadline, true);
    return hear(on_tap, deadline);
  });
}

void Caller::give_up(const char* code, std::string_view doing, const std::string& why) {
  end_it();
  channel_.reset();
  dead_.emplace(ErrorKind::internal, code, fmt::format("{}{}{}: {}", who_, who_.empty() ? "" : ": ", doing, why));
  throw Error(*dead_);
}

}  // namespace mlbench::plugin
