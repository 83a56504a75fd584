// Messages between the program and the process that a plug-in lives in: a head, and values in the machine's own
// representation, over a socket; what is large, in memory that both share.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "backends/backend.h"
#include "backends/plugin/arena.h"

namespace mlbench::plugin {

// What the program asks for.
enum class Op : std::uint32_t {
  supports,
  memory,
  measure_rates,
  load,
  create_cache,
  destroy_cache,
  embed,
  get_logits,
  batch_select,
  forward,
  run_part,
  synchronize,
  add_sequence,
  remove_sequence,
  fork_sequence,
  popn,
  enable_sliding_window,
  begin_forward,
  end_forward,
  commit_tree,
  get_query_positions,
  clear,
  empty,
  num_available_pages,
  total_sequence_length,
  sequence_length,
  prepare_recv,
  mark_send,
  debug_get_kv,
  debug_set_kv,
  unload,
  // Of a rank alone (backends/parallel).
  take_place,
  map_part,
  give_tensor,
  take_times,
};

// What it is told. A call is answered by any number of taps, then by `ok` or `error`. The first thing that is said,
// unasked, is a description of the backend, or of the rank. The last may be that it was told to end by others.
enum class Reply : std::uint32_t { ok, error, tap, stopped };

constexpr std::uint32_t kMessageMark = 0x6D6C6270;  // "mlbp": what does not begin so is no message
struct MessageHead {
  std::uint32_t mark = kMessageMark, kind = 0;
  std::uint64_t size = 0;
  std::uint64_t shared = 0;  // 1: the message stands in shared memory
};

// The other side said what cannot be.
class Malformed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Writer {
 public:
  template <class T>
  requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void number(T value) { append(std::as_bytes(std::span(&value, 1))); }
  void text(std::string_view value);
  template <class T>
  void list(std::span<const T> values) {
    number<std::uint64_t>(values.size());
    append(std::as_bytes(values));
  }
  // Type, shape and values. The values are not copied: they must stay until the message is sent.
  void tensor(const ConstTensorView& view);
  // Type and shape alone.
  void form(DType dtype, const Shape& shape);
  void borrow(std::span<const std::byte> bytes);

  [[nodiscard]] std::vector<std::span<const std::byte>> pieces() const;

 private:
  struct Borrowed {
    std::size_t at;  // behind so many bytes of own_
    std::span<const std::byte> bytes;
  };
  void append(std::span<const std::byte> bytes);

  std::vector<std::byte> own_;
  std::vector<Borrowed> borrowed_;
};

// Reads what a Writer wrote; throws Malformed where it is not that. Views lie in the message.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <class T>
  requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  [[nodiscard]] T number() {
    T value{};
    const auto bytes = take(sizeof(T)).first<sizeof(T)>();
    std::copy(bytes.begin(), bytes.end(), std::as_writable_bytes(std::span(&value, 1)).begin());
    return value;
  }
  [[nodiscard]] std::string text();  // cleaned, as clean_text() does
  template <class T>
  [[nodiscard]] std::vector<T> list() {
    const auto count = number<std::uint64_t>();
    if (count > rest_.size() / sizeof(T)) throw Malformed("a list is cut short");
    std::vector<T> values(static_cast<std::size_t>(count));
    const auto bytes = take(values.size() * sizeof(T));
    std::copy(bytes.begin(), bytes.end(), std::as_writable_bytes(std::span(values)).begin());
    return values;
  }
  [[nodiscard]] ConstTensorView tensor();
  [[nodiscard]] std::pair<DType, Shape> form();
  [[nodiscard]] DType dtype();
  [[nodiscard]] std::span<const std::byte> take(std::size_t size);
  void end() const;  // nothing may be left

 private:
  std::span<const std::byte> rest_;
};

using Deadline = std::optional<std::chrono::steady_clock::time_point>;  // nothing: any time

class TimedOut : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
class Closed : public std::runtime_error {  // by the other side
 public:
  using std::runtime_error::runtime_error;
};

// One end of a connected socket, which it owns.
class Channel {
 public:
  explicit Channel(int fd);
  // Gives it shared memory to send bulk in and to receive it from; the files stay the caller's.
  void share(int outgoing_fd, int incoming_fd);
  // Nothing comes or goes any more, also for a thread that waits for it.
  void shut() const;
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  struct Message {
    std::uint32_t kind = 0;
    std::span<const std::byte> bytes;  // until the next one is received
  };
  // Throw TimedOut, Closed; receive() also Malformed. A message is sent as bulk only when the other side has read the
  // one before: it may take that one's place.
  void send(std::uint32_t kind, const Writer& message, const Deadline& deadline = std::nullopt, bool bulk = false);
  [[nodiscard]] Message receive(const Deadline& deadline = std::nullopt);
  // Whether something has come, or the other side is gone, within some time.
  [[nodiscard]] bool has_something(int milliseconds) const;

 private:
  void wait(short events, const Deadline& deadline) const;
  void receive(std::byte* to, std::size_t size, const Deadline& deadline);

  int fd_;
  std::vector<std::byte> received_;
  std::optional<Arena> outgoing_, incoming_;
};

// ---- our structures ----

void put(Writer& to, const ModelConfig& config);
void put(Writer& to, const backends::RunConfig& run);
void put(Writer& to, const KvLimits& limits);
void put(Writer& to, const backends::Support& support);
void put(Writer& to, const backends::Arithmetic& arithmetic);
void put(Writer& to, const backends::MemoryEstimate& memory);

// get<ModelConfig>(reader) and so on.
template <class T>
[[nodiscard]] T get(Reader& from);
template <>
ModelConfig get<ModelConfig>(Reader& from);
template <>
backends::RunConfig get<backends::RunConfig>(Reader& from);
template <>
KvLimits get<KvLimits>(Reader& from);
template <>
backends::Support get<backends::Support>(Reader& from);
template <>
backends::Arithmetic get<backends::Arithmetic>(Reader& from);
template <>
backends::MemoryEstimate get<backends::MemoryEstimate>(Reader& from);

}  // namespace mlbench::plugin
