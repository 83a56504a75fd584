// The asking side of a connection to another process: a request, its taps, its answer, and what it means when none
// comes.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "backends/plugin/wire.h"
#include "core/error.h"

namespace mlbench::plugin {

class Caller {
 public:
  using OnTap = std::function<void(Reader&)>;

  virtual ~Caller() = default;
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  [[nodiscard]] bool alive() const { return !dead_; }

  // Asks and waits. Throws what the other side threw. When its process ends or says what cannot be, backend.crashed or
  // backend.failed; when it does not answer in time, backend.timeout: it is gone then, and every later call throws the
  // same. What `on_tap` throws is thrown when the call is over. The answer lies in memory of the channel. `busy_s` of a
  // call that is to take so long do not count.
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
  // Of a call that answers nothing.
  void ask_nothing(std::string_view doing, Op op, const Writer& request) {
    read(doing, ask(doing, op, request), [](Reader&) {});
  }

 protected:
  // `who`: how messages name the other side; empty: whoever catches them does. `time_limit_s`: for the answer to one
  // call; 0: none.
  Caller(std::string who, double time_limit_s) : who_(std::move(who)), time_limit_s_(time_limit_s) {}

  void connect(std::unique_ptr<Channel> channel) { channel_ = std::move(channel); }
  void disconnect() { channel_.reset(); }
  [[nodiscard]] Channel& channel() { return *channel_; }
  [[nodiscard]] const Channel* connected() const { return channel_.get(); }
  // What the other side says unasked.
  Reader hear(std::string_view doing);
  // Its end of the channel was closed: waits until it has ended, and says how.
  virtual std::string how_it_ended() = 0;
  // It is of no use any more: ends it.
  virtual void end_it() = 0;

 private:
  [[nodiscard]] Deadline deadline(double busy_s) const;
  Reader hear(const OnTap& on_tap, const Deadline& deadline);
  template <class Talk>
  auto guarded(std::string_view doing, Talk talk) -> decltype(talk());
  // For good; throws why.
  [[noreturn]] void give_up(const char* code, std::string_view doing, const std::string& why);

  std::string who_;
  double time_limit_s_;
  std::unique_ptr<Channel> channel_;
  std::optional<Error> dead_;
};

}  // namespace mlbench::plugin
