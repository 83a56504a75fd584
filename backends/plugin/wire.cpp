#include "backends/plugin/wire.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include <fmt/format.h>

#include "backends/plugin/convert.h"

namespace mlbench::plugin {
namespace {

constexpr std::uint64_t kBulk = 1U << 16U;  // bytes from which on sharing pays

}  // namespace

// ---- values ----

// Not in the header: GCC 12 takes an insert that it inlines for one beyond the end (-Wstringop-overflow).
void Writer::append(std::span<const std::byte> bytes) {
  const std::size_t end = own_.size();
  own_.resize(end + bytes.size());
  std::ranges::copy(bytes, own_.begin() + static_cast<std::ptrdiff_t>(end));
}

void Writer::text(std::string_view value) { list(std::span<const char>(value)); }

void Writer::form(DType dtype, const Shape& shape) {
  number(dtype);
  list(std::span<const Index>(shape));
}

void Writer::tensor(const ConstTensorView& view) {
  form(view.dtype, view.shape);
  const auto bytes = bytes_of(view.dtype, view.shape);
  if (!bytes) throw backend_failed(fmt::format("a tensor of shape {}", to_string(view.shape)));
  borrow({view.data, *bytes});
}

void Writer::borrow(std::span<const std::byte> bytes) {
  if (!bytes.empty()) borrowed_.push_back({own_.size(), bytes});
}

std::vector<std::span<const std::byte>> Writer::pieces() const {
  std::vector<std::span<const std::byte>> out;
  std::span<const std::byte> own = own_;
  std::size_t at = 0;
  for (const Borrowed& borrowed : borrowed_) {
    out.push_back(own.subspan(at, borrowed.at - at));
    out.push_back(borrowed.bytes);
    at = borrowed.at;
  }
  out.push_back(own.subspan(at));
  std::erase_if(out, [](const auto& piece) { return piece.empty(); });
  return out;
}

std::span<const std::byte> Reader::take(std::size_t size) {
  if (size > rest_.size()) throw Malformed("a message is cut short");
  const auto out = rest_.first(size);
  rest_ = rest_.subspan(size);
  return out;
}

void Reader::end() const {
  if (!rest_.empty()) throw Malformed(fmt::format("a message has {} bytes too many", rest_.size()));
}

std::string Reader::text() {
  const std::vector<char> bytes = list<char>();
  return clean_text(bytes.data(), bytes.size());
}

DType Reader::dtype() {
  const auto number = this->number<std::uint32_t>();
  if (number > static_cast<std::uint32_t>(DType::f16)) throw Malformed(fmt::format("type {}", number));
  return static_cast<DType>(number);
}

std::pair<DType, Shape> Reader::form() {
  const DType type = dtype();
  return {type, list<Index>()};
}

ConstTensorView Reader::tensor() {
  auto [type, shape] = form();
  const auto bytes = bytes_of(type, shape);
  if (!bytes) throw Malformed(fmt::format("a tensor of shape {}", to_string(shape)));
  const auto values = take(*bytes);
  return {type, std::move(shape), values.data()};
}

// ---- the socket ----

Channel::Channel(int fd) : fd_(fd) { (void)::fcntl(fd_, F_SETFL, ::fcntl(fd_, F_GETFL) | O_NONBLOCK); }

Channel::~Channel() { ::close(fd_); }

void Channel::shut() const { (void)::shutdown(fd_, SHUT_RDWR); }

void Channel::share(int outgoing_fd, int incoming_fd) {
  outgoing_.emplace(outgoing_fd, Arena::Use::write);
  incoming_.emplace(incoming_fd, Arena::Use::read);
}

bool Channel::has_something(int milliseconds) const {
  pollfd entry{fd_, POLLIN, 0};
  return ::poll(&entry, 1, milliseconds) != 0;
}

void Channel::wait(short events, const Deadline& deadline) const {
  using std::chrono::milliseconds;
  int timeout = -1;
  if (deadline) {
    const auto left = std::chrono::ceil<milliseconds>(*deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) throw TimedOut("no answer in time");
    timeout = static_cast<int>(std::min<decltype(left)>(left, INT_MAX));
  }
  pollfd entry{fd_, events, 0};
  (void)::poll(&entry, 1, timeout);  // whatever it says, the next try will tell
}

void Channel::send(std::uint32_t kind, const Writer& message, const Deadline& deadline, bool bulk) {
  auto pieces = message.pieces();
  MessageHead head{.kind = kind};
  for (const auto& piece : pieces) head.size += piece.size();
  if (bulk && outgoing_ && head.size >= kBulk) {
    outgoing_->write(pieces, static_cast<std::size_t>(head.size));
    head.shared = 1;
    pieces.clear();
  }
  std::vector<iovec> parts = {{&head, sizeof head}};
  for (const auto& piece : pieces) {
    // The structure serves reading and writing alike.
    parts.push_back({const_cast<std::byte*>(piece.data()), piece.size()});  // NOLINT(*-const-cast)
  }
  for (std::size_t next = 0; next < parts.size();) {
    msghdr batch{};
    batch.msg_iov = &parts[next];
    batch.msg_iovlen = std::min<std::size_t>(parts.size() - next, IOV_MAX);
    const ssize_t sent = ::sendmsg(fd_, &batch, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) throw Closed(std::strerror(errno));
      wait(POLLOUT, deadline);
      continue;
    }
    auto left = static_cast<std::size_t>(sent);
    while (next < parts.size() && left >= parts[next].iov_len) left -= parts[next++].iov_len;
    if (left == 0) continue;
    parts[next].iov_base = static_cast<std::byte*>(parts[next].iov_base) + left;
    parts[next].iov_len -= left;
  }
}

void Channel::receive(std::byte* to, std::size_t size, const Deadline& deadline) {
  while (size > 0) {
    const ssize_t got = ::recv(fd_, to, size, 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) throw Closed(std::strerror(errno));
      wait(POLLIN, deadline);
      continue;
    }
    if (got == 0) throw Closed("the other side is gone");
    to += got;
    size -= static_cast<std::size_t>(got);
  }
}

Channel::Message Channel::receive(const Deadline& deadline) {
  MessageHead head;
  receive(reinterpret_cast<std::byte*>(&head), sizeof head, deadline);
  if (head.mark != kMessageMark) throw Malformed("what it sent is no message");
  // Memory is taken as bytes arrive, not as they are promised.
  constexpr std::size_t kStep = 1U << 24U;
  const auto size = static_cast<std::size_t>(head.size);
  if (head.shared != 0) {
    if (!incoming_) throw Malformed("there is no shared memory");
    return {head.kind, incoming_->read(size)};
  }
  for (std::size_t have = 0; have < size;) {
    const std::size_t next = size - have > std::max(kStep, have) ? have + std::max(kStep, have) : size;
    if (received_.size() < next) received_.resize(next);
    receive(received_.data() + have, next - have, deadline);
    have = next;
  }
  return {head.kind, std::span<const std::byte>(received_).first(size)};
}

// ---- structures ----

namespace {

// Visits the fields of a structure, to write or to read them alike.
struct WriteFields {
  Writer& to;
  void operator()(const std::string& value) const { to.text(value); }
  void operator()(const std::vector<double>& value) const { to.list(std::span<const double>(value)); }
  void operator()(const std::optional<double>& value) const {
    to.number(value.has_value());
    to.number(value.value_or(0.0));
  }
  template <class T>
  void operator()(const T& value) const {
    to.number(value);
  }
};

struct ReadFields {
  Reader& from;
  void operator()(std::string& value) const { value = from.text(); }
  void operator()(std::vector<double>& value) const { value = from.list<double>(); }
  void operator()(std::optional<double>& value) const {
    const bool given = (*this).flag();
    const auto number = from.number<double>();
    if (given) value = number;
  }
  void operator()(bool& value) const { value = flag(); }
  void operator()(DType& value) const { value = from.dtype(); }
  template <class T>
  void operator()(T& value) const {
    value = from.number<T>();
  }
  [[nodiscard]] bool flag() const {
    const auto byte = from.number<unsigned char>();
    if (byte > 1) throw Malformed("a flag is neither 0 nor 1");
    return byte == 1;
  }
};

template <class Visit, class... Fields>
void each(const Visit& visit, Fields&... fields) {
  (visit(fields), ...);
}

template <class Visit, class Rope>
void visit_rope(const Visit& visit, Rope& r) {
  each(visit, r.kind, r.theta, r.rotary_dim, r.max_positions, r.original_max_positions, r.factor, r.low_freq_factor,
       r.high_freq_factor, r.beta_fast, r.beta_slow, r.truncate, r.attention_factor, r.mscale, r.mscale_all_dim,
       r.short_factor, r.long_factor);
}

template <class Visit, class Config>
void visit_config(const Visit& visit, Config& c) {
  each(visit, c.architecture, c.hidden_size, c.intermediate_size, c.num_layers, c.num_heads, c.num_kv_heads, c.head_dim,
       c.vocab_size, c.norm_eps, c.activation, c.tie_word_embeddings, c.attention_bias, c.mlp_bias, c.clip_qkv,
       c.qk_layernorm, c.multi_query, c.scale_attn_weights, c.num_positions, c.context_window_size,
       c.prefill_chunk_size, c.tensor_parallel_shards, c.pipeline_parallel_stages, c.max_batch_size, c.disaggregation,
       c.dtype);
  visit_rope(visit, c.rope);
}

template <class Visit, class Run>
void visit_run(const Visit& visit, Run& r) {
  each(visit, r.dtype, r.device, r.threads, r.tensor_parallel, r.pipeline_parallel, r.shard, r.stage, r.first_layer,
       r.micro_batches, r.disaggregated, r.replicas);
}

template <class Visit, class Limits>
void visit_limits(const Visit& visit, Limits& l) {
  each(visit, l.max_batch_size, l.max_total_seq_len, l.prefill_chunk_size, l.page_size, l.support_sliding_window);
}

template <class Visit, class Arithmetic>
void visit_arithmetic(const Visit& visit, Arithmetic& a) {
  each(visit, a.weights, a.activations, a.kv_cache, a.logits, a.product_inputs, a.attention_inputs, a.accumulation,
       a.product_sums.fused, a.product_sums.truncates, a.attention_sums.fused, a.attention_sums.truncates,
       a.f32_rope_angles, a.shards);
}

template <class Visit, class Memory>
void visit_memory(const Visit& visit, Memory& m) {
  each(visit, m.weights_bytes, m.cache_bytes, m.scratch_bytes);
}

}  // namespace

void put(Writer& to, const ModelConfig& config) { visit_config(WriteFields{to}, config); }
void put(Writer& to, const backends::RunConfig& run) { visit_run(WriteFields{to}, run); }
void put(Writer& to, const KvLimits& limits) { visit_limits(WriteFields{to}, limits); }
void put(Writer& to, const backends::Support& support) { each(WriteFields{to}, support.ok, support.reason); }
void put(Writer& to, const backends::Arithmetic& arithmetic) { visit_arithmetic(WriteFields{to}, arithmetic); }
void put(Writer& to, const backends::MemoryEstimate& memory) { visit_memory(WriteFields{to}, memory); }

template <>
ModelConfig get<ModelConfig>(Reader& from) {
  ModelConfig out;
  visit_config(ReadFields{from}, out);
  return out;
}
template <>
backends::RunConfig get<backends::RunConfig>(Reader& from) {
  backends::RunConfig out;
  visit_run(ReadFields{from}, out);
  return out;
}
template <>
KvLimits get<KvLimits>(Reader& from) {
  KvLimits out;
  visit_limits(ReadFields{from}, out);
  return out;
}
template <>
backends::Support get<backends::Support>(Reader& from) {
  backends::Support out;
  each(ReadFields{from}, out.ok, out.reason);
  return out;
}
template <>
backends::Arithmetic get<backends::Arithmetic>(Reader& from) {
  backends::Arithmetic out;
  visit_arithmetic(ReadFields{from}, out);
  return out;
}
template <>
backends::MemoryEstimate get<backends::MemoryEstimate>(Reader& from) {
  backends::MemoryEstimate out;
  visit_memory(ReadFields{from}, out);
  return out;
}

}  // namespace mlbench::plugin
