#include "backends/plugin/host.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>

#include <fmt/format.h>

#include "backends/plugin/description.h"
#include "backends/plugin/guarded.h"
#include "backends/plugin/in_process.h"
#include "backends/plugin/library.h"
#include "backends/plugin/wire.h"

namespace mlbench::plugin {
namespace {

template <class Value>
std::span<const Value> span_of(const std::vector<Value>& values) {
  return values;
}

// The weights as the program left them, to be read only: a plug-in that writes to them dies of it.
std::shared_ptr<const std::byte> mapped_weights(std::size_t size) {
  struct stat status {};
  if (::fstat(kWeightsFd, &status) != 0 || static_cast<std::size_t>(status.st_size) < size)
    throw Malformed("the weights are cut short");
  void* at = ::mmap(nullptr, std::max<std::size_t>(size, 1), PROT_READ, MAP_PRIVATE, kWeightsFd, 0);
  if (at == MAP_FAILED)  // NOLINT: a macro of the system's
    throw Error(ErrorKind::internal, "memory.exceeded", "load: the weights cannot be mapped");
  return {static_cast<const std::byte*>(at), [size](const std::byte* data) {
            ::munmap(const_cast<std::byte*>(data), std::max<std::size_t>(size, 1));  // NOLINT(*-const-cast)
          }};
}

// Sends taps as they come; knows beforehand which are wanted.
class RemoteSink final : public backends::TapSink {
 public:
  RemoteSink(Channel& to, std::vector<unsigned char> wanted) : to_(to), wanted_(std::move(wanted)) {}

  [[nodiscard]] bool wants(TapId id) const override {
    const std::size_t layers = wanted_.size() / MLBENCH_NUM_TAPS;  // the first stands for none
    const auto at = static_cast<std::size_t>(id.tap) * layers + static_cast<std::size_t>(id.layer + 1);
    return at < wanted_.size() && wanted_[at] != 0;
  }
  void take(TapId id, const ConstTensorView& value) override {
    Writer message;
    message.number(static_cast<std::int32_t>(id.tap));
    message.number(id.layer);
    message.tensor(value);
    to_.send(static_cast<std::uint32_t>(Reply::tap), message);
  }

 private:
  Channel& to_;
  std::vector<unsigned char> wanted_;
};

class Server {
 public:
  Server(backends::Backend& backend, Channel& channel) : backend_(backend), channel_(channel) {}

  // Returns when the other side closes the channel.
  void run() {
    try {
      while (true) {
        const Channel::Message message = channel_.receive();
        answer(static_cast<Op>(message.kind), Reader(message.bytes));
      }
    } catch (const Closed&) {
      caches_.clear();
      session_.reset();
    }
  }

 private:
  void answer(Op op, Reader request) {
    Writer reply;
    try {
      handle(op, request, reply);
      channel_.send(static_cast<std::uint32_t>(Reply::ok), reply, std::nullopt, true);
    } catch (const Error& error) {
      send_error(channel_, error);
    } catch (const Closed&) {
      throw;
    } catch (const std::bad_alloc&) {
      send_error(channel_, Error(ErrorKind::internal, "memory.exceeded", "memory ran out"));
    } catch (const std::exception& error) {
      send_error(channel_, backend_failed(error.what()));
    }
  }

 public:
  static void send_error(Channel& channel, const Error& error) {
    Writer reply;
    reply.number(error.kind());
    reply.text(error.code());
    reply.text(error.message());
    channel.send(static_cast<std::uint32_t>(Reply::error), reply);
  }

 private:
  backends::KvCache& cache(Reader& request) {
    const auto it = caches_.find(request.number<std::uint32_t>());
    if (it == caches_.end()) throw Malformed("there is no such cache");
    return *it->second;
  }
  backends::Session& session() {
    if (session_ == nullptr) throw Malformed("nothing is loaded");
    return *session_;
  }
  TensorView room(Reader& request, Guarded& where) {
    const auto [dtype, shape] = request.form();
    return where.room(dtype, shape);
  }

  void handle(Op op, Reader& request, Writer& reply) {
    if (op < Op::create_cache) return handle_backend(op, request, reply);
    if (op < Op::add_sequence) return handle_session(op, request, reply);
    if (op < Op::get_query_positions) return change_cache(op, request);
    return handle_cache(op, request, reply);
  }

  void handle_backend(Op op, Reader& request, Writer& reply) {
    if (op == Op::load) return load(request, reply);
    if (op == Op::measure_rates) return measure_rates(request, reply);
    const auto config = get<ModelConfig>(request);
    const auto run = get<backends::RunConfig>(request);
    if (op == Op::supports) return put(reply, backend_.supports(config, run));
    put(reply, backend_.memory(config, run, get<KvLimits>(request)));
  }

  void measure_rates(Reader& request, Writer& reply) {
    const auto run = get<backends::RunConfig>(request);
    const auto rates = backend_.measure_rates(run, request.number<double>()).value_or(backends::DeviceRates{});
    reply.number(rates.read_bytes_per_second);
    reply.number(rates.flops_per_second);
  }

  void load(Reader& request, Writer& reply) {
    model_.config = get<ModelConfig>(request);
    const auto run = get<backends::RunConfig>(request);
    model_.origin = request.text();
    const std::shared_ptr<const std::byte> bytes = mapped_weights(request.number<std::uint64_t>());
    const auto weights = std::make_shared<Weights>();
    weights->keep(bytes);
    for (const NamedTensor& tensor : tensors_of(model_.config)) {
      const DType dtype = request.dtype();
      const auto at = request.number<std::uint64_t>();
      const bool vector = tensor.shape.size() == 1;
      weights->put(tensor.name, {dtype, vector ? 1 : tensor.shape[0], tensor.shape.back(), bytes.get() + at});
    }
    model_.weights = weights;
    session_ = backend_.load(model_, run);
    put(reply, session_->arithmetic());
    put(reply, session_->isolates_layers());
    for (int tap = 0; tap < MLBENCH_NUM_TAPS; ++tap) put(reply, session_->gives(static_cast<Tap>(tap)));
  }

  void handle_session(Op op, Reader& request, Writer& reply) {
    switch (op) {
      case Op::create_cache: {
        auto cache = session().create_paged_kv_cache(get<KvLimits>(request));
        caches_[++last_cache_] = std::move(cache);
        return reply.number(last_cache_);
      }
      case Op::destroy_cache: {
        caches_.erase(request.number<std::uint32_t>());
        return;
      }
      case Op::embed: {
        const TensorView out = room(request, result_);
        session().embed(request.list<std::int32_t>(), out);
        return give(reply, result_, "embed");
      }
      case Op::get_logits: {
        const TensorView out = room(request, result_);
        const ConstTensorView hidden = request.tensor();
        session().get_logits(lent(hidden), out);
        return give(reply, result_, "get_logits", &hidden);
      }
      case Op::batch_select: {
        const TensorView out = room(request, result_);
        const auto positions = request.list<std::int32_t>();
        const ConstTensorView hidden = request.tensor();
        session().batch_select_last_hidden_states(lent(hidden), positions, out);
        return give(reply, result_, "batch_select_last_hidden_states", &hidden);
      }
      case Op::synchronize: return session().synchronize();
      default: return run_rows(op, request, reply);
    }
  }

  // forward and run_part
  void run_rows(Op op, Reader& request, Writer& reply) {
    const auto which = request.number<std::int32_t>();  // method or kind of part
    const auto layer = request.number<Index>();
    backends::KvCache& kv = cache(request);
    const TensorView out = room(request, result_);
    const auto positions = request.list<std::int32_t>();
    auto wanted = request.list<unsigned char>();
    const ConstTensorView x = request.tensor();
    const bool none = wanted.empty();
    RemoteSink remote(channel_, std::move(wanted));
    backends::TapSink* const sink = none ? nullptr : &remote;
    if (op == Op::forward) {
      const auto method = static_cast<backends::Method>(which);
      session().forward(method, lent(x), positions, kv, out, sink);
      return give(reply, result_, backends::name(method), &x);
    }
    session().run_part({static_cast<backends::Part::Kind>(which), layer}, lent(x), kv, out, sink);
    give(reply, result_, "run_part", &x);
  }

  void change_cache(Op op, Reader& request) {
    backends::KvCache& kv = cache(request);
    if (op == Op::end_forward) return kv.end_forward();
    if (op == Op::begin_forward || op == Op::commit_tree) {
      const auto ids = request.list<SeqId>();
      const auto numbers = request.list<Index>();  // lengths or leaves
      if (op == Op::commit_tree) return kv.commit_accepted_token_tree_nodes(ids, numbers);
      std::optional<std::vector<Index>> parents;
      if (request.number<unsigned char>() != 0) parents = request.list<Index>();
      return kv.begin_forward(ids, numbers, parents);
    }
    const auto id = request.number<SeqId>();
    const auto a = request.number<Index>(), b = request.number<Index>();
    switch (op) {
      case Op::add_sequence: return kv.add_sequence(id);
      case Op::remove_sequence: return kv.remove_sequence(id);
      case Op::fork_sequence: return kv.fork_sequence(id, a, b);
      case Op::popn: return kv.popn(id, a);
      case Op::enable_sliding_window: return kv.enable_sliding_window_for_seq(id, a, b);
      default: throw Malformed("an unknown request");
    }
  }

  void handle_cache(Op op, Reader& request, Writer& reply) {
    backends::KvCache& kv = cache(request);
    switch (op) {
      case Op::get_query_positions: return reply.list(span_of(kv.get_query_positions()));
      case Op::clear: return kv.clear();
      case Op::empty: return reply.number<Index>(kv.empty() ? 1 : 0);
      case Op::num_available_pages: return reply.number(kv.num_available_pages());
      case Op::total_sequence_length: return reply.number(kv.total_sequence_length());
      case Op::sequence_length: return reply.number(kv.sequence_length(request.number<SeqId>()));
      default: return entries(op, kv, request, reply);
    }
  }

  void entries(Op op, backends::KvCache& kv, Reader& request, Writer& reply) {
    const auto id = request.number<SeqId>();
    const auto begin = request.number<Index>(), end = request.number<Index>();
    if (op == Op::debug_set_kv) {
      const ConstTensorView keys = request.tensor();
      return kv.debug_set_kv(id, begin, keys, request.tensor());
    }
    if (op != Op::debug_get_kv) throw Malformed("an unknown request");
    const TensorView keys = room(request, result_);
    const TensorView values = room(request, other_result_);
    kv.debug_get_kv(id, begin, end, keys, values);
    give(reply, result_, "debug_get_kv");
    give(reply, other_result_, "debug_get_kv");
  }

  // An input as the plug-in sees it: a copy, so that what it writes there shows.
  ConstTensorView lent(const ConstTensorView& x) {
    input_.assign(x.data, x.data + *bytes_of(x.dtype, x.shape));
    return {x.dtype, x.shape, input_.data()};
  }

  void give(Writer& reply, Guarded& result, std::string_view doing, const ConstTensorView* input = nullptr) {
    result.check(doing);
    if (input != nullptr && !input_.empty() && std::memcmp(input_.data(), input->data, input_.size()) != 0)
      throw backend_failed(fmt::format("{}: changed its input", doing));
    reply.borrow(result.result());
  }

  backends::Backend& backend_;
  Channel& channel_;
  Model model_;  // outlives the session
  std::unique_ptr<backends::Session> session_;
  std::map<std::uint32_t, std::unique_ptr<backends::KvCache>> caches_;
  std::uint32_t last_cache_ = 0;
  Guarded result_, other_result_;
  std::vector<std::byte> input_;
};

void send(Channel& channel, const Description& description) {
  Writer message;
  message.text(description.name);
  message.text(description.version);
  message.text(description.why_none);
  message.number<std::uint64_t>(description.devices.size());
  for (const backends::DeviceInfo& device : description.devices) {
    message.text(device.id);
    message.text(device.description);
    message.number(device.memory_bytes);
  }
  channel.send(static_cast<std::uint32_t>(Reply::ok), message);
}

void die_with(pid_t parent) {
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(0);  // it died before it was asked for
}

void require_started_by_program() {
  struct stat status {};
  if (::fstat(kChannelFd, &status) == 0 && S_ISSOCK(status.st_mode)) return;
  throw request_error("usage", "plugin-host: is started by the program itself, for --backend ./library.so");
}

}  // namespace

void host_plugin(const std::string& library, pid_t parent) {
  require_started_by_program();
  die_with(parent);
  Channel channel(kChannelFd);
  channel.share(kRepliesFd, kRequestsFd);
  try {
    const auto backend = make_in_process_backend(open_library(library));
    send(channel, description_of(*backend));
    Server(*backend, channel).run();
  } catch (const Error& error) {
    try {
      Server::send_error(channel, error);
    } catch (const Closed&) {  // then nobody is left to be told
    }
  } catch (const Closed&) {
  }
  (void)std::fflush(nullptr);
  ::_exit(0);  // without the libraries' own endings, which run after what they need
}

}  // namespace mlbench::plugin
