#include "backends/plugin/server.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include <fmt/format.h>

#include "backends/plugin/convert.h"

namespace mlbench::plugin {
namespace {

template <class Value>
std::span<const Value> span_of(const std::vector<Value>& values) {
  return values;
}

// Sends taps as they come; knows beforehand which are wanted.
class RemoteSink final : public backends::TapSink {
 public:
  RemoteSink(Channel& to, std::vector<unsigned char> wanted) : to_(to), wanted_(std::move(wanted)) {}

  [[nodiscard]] bool wants(TapId id) const override {
    const std::size_t layers = wanted_.size() / kNumTaps;  // the first stands for none
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

}  // namespace

void Server::run() {
  try {
    while (true) {
      have_time();
      const Channel::Message message = channel_.receive();
      const auto op = static_cast<Op>(message.kind);
      set_busy(op, true);
      answer(op, Reader(message.bytes));
      set_busy(op, false);
    }
  } catch (const Closed&) {
    caches_.clear();
    sessions_.clear();
  }
}

void Server::answer(Op op, Reader request) {
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

void send_error(Channel& channel, const Error& error) {
  Writer reply;
  reply.number(error.kind());
  reply.text(error.code());
  reply.text(error.message());
  channel.send(static_cast<std::uint32_t>(Reply::error), reply);
}

Server::Cache& Server::cache(Reader& request) {
  const auto it = caches_.find(request.number<std::uint32_t>());
  if (it == caches_.end()) throw Malformed("there is no such cache");
  return it->second;
}
backends::Session& Server::session(std::uint32_t id) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) throw Malformed("there is no such session");
  return *it->second->session;
}
void Server::unload(std::uint32_t id) {
  std::erase_if(caches_, [&](const auto& each) { return each.second.session == id; });
  sessions_.erase(id);
}
TensorView Server::room(Reader& request, Guarded& where) {
  const auto [dtype, shape] = request.form();
  return where.room(dtype, shape);
}

void Server::handle(Op op, Reader& request, Writer& reply) {
  if (op < Op::create_cache) return handle_backend(op, request, reply);
  if (op < Op::add_sequence) return handle_session(op, request, reply);
  if (op < Op::get_query_positions) return change_cache(op, request);
  if (op <= Op::debug_set_kv) return handle_cache(op, request, reply);
  if (op == Op::unload) return unload(request.number<std::uint32_t>());
  handle_other(op, request, reply);
}

void Server::handle_other(Op /*op*/, Reader& /*request*/, Writer& /*reply*/) { throw Malformed("an unknown request"); }

void Server::handle_backend(Op op, Reader& request, Writer& reply) {
  if (op == Op::load) return load(request, reply);
  if (op == Op::measure_rates) return measure_rates(request, reply);
  const auto config = get<ModelConfig>(request);
  const auto run = get<backends::RunConfig>(request);
  if (op == Op::supports) return put(reply, backend_.supports(config, run));
  put(reply, backend_.memory(config, run, get<KvLimits>(request)));
}

void Server::measure_rates(Reader& request, Writer& reply) {
  const auto run = get<backends::RunConfig>(request);
  const auto rates = backend_.measure_rates(run, request.number<double>()).value_or(backends::DeviceRates{});
  reply.number(rates.read_bytes_per_second);
  reply.number(rates.flops_per_second);
}

void Server::load(Reader& request, Writer& reply) {
  auto config = get<ModelConfig>(request);
  const auto run = get<backends::RunConfig>(request);
  auto loaded = std::make_unique<Loaded>();
  loaded->model = read_model(std::move(config), request);
  loaded->session = backend_.load(loaded->model, run_config(run));
  const backends::Session& session = *loaded->session;
  reply.number(++last_session_);
  put(reply, session.arithmetic());
  put(reply, session.isolates_layers());
  for (int tap = 0; tap < kNumTaps; ++tap) put(reply, session.gives(static_cast<Tap>(tap)));
  sessions_[last_session_] = std::move(loaded);
}

void Server::handle_session(Op op, Reader& request, Writer& reply) {
  if (op == Op::forward || op == Op::run_part) return run_rows(op, request, reply);
  const auto id = request.number<std::uint32_t>();  // of the cache that is destroyed, else of the session
  if (op == Op::destroy_cache) {
    caches_.erase(id);
    return;
  }
  backends::Session& asked = session(id);
  switch (op) {
    case Op::create_cache: {
      auto cache = asked.create_paged_kv_cache(get<KvLimits>(request));
      caches_[++last_cache_] = {id, std::move(cache)};
      return reply.number(last_cache_);
    }
    case Op::embed: {
      const TensorView out = room(request, result_);
      asked.embed(request.list<std::int32_t>(), out);
      return give(reply, result_, "embed");
    }
    case Op::get_logits: {
      const TensorView out = room(request, result_);
      const ConstTensorView hidden = request.tensor();
      asked.get_logits(lent(hidden), out);
      return give(reply, result_, "get_logits", &hidden);
    }
    case Op::batch_select: {
      const TensorView out = room(request, result_);
      const auto positions = request.list<std::int32_t>();
      const ConstTensorView hidden = request.tensor();
      asked.batch_select_last_hidden_states(lent(hidden), positions, out);
      return give(reply, result_, "batch_select_last_hidden_states", &hidden);
    }
    case Op::synchronize: return asked.synchronize();
    default: throw Malformed("an unknown request");
  }
}

// forward and run_part
void Server::run_rows(Op op, Reader& request, Writer& reply) {
  const auto which = request.number<std::int32_t>();  // method or kind of part
  const auto layer = request.number<Index>();
  const Cache& of_session = cache(request);
  backends::KvCache& kv = *of_session.cache;
  backends::Session& asked = session(of_session.session);
  TensorView out = room(request, result_);
  const bool out_wanted = request.number<unsigned char>() != 0;
  if (!out_wanted) out.data = nullptr;
  const auto positions = request.list<std::int32_t>();
  auto wanted = request.list<unsigned char>();
  ConstTensorView x;
  if (request.number<unsigned char>() != 0) {
    x = request.tensor();
  } else {
    std::tie(x.dtype, x.shape) = request.form();
  }
  const bool none = wanted.empty();
  RemoteSink remote(channel_, std::move(wanted));
  backends::TapSink* const sink = none ? nullptr : &remote;
  if (op == Op::forward) {
    const auto method = static_cast<backends::Method>(which);
    asked.forward(method, lent(x), positions, kv, out, sink);
    return out_wanted ? give(reply, result_, backends::name(method), &x) : void();
  }
  asked.run_part({static_cast<backends::Part::Kind>(which), layer}, lent(x), kv, out, sink);
  give(reply, result_, "run_part", &x);
}

void Server::change_cache(Op op, Reader& request) {
  backends::KvCache& kv = *cache(request).cache;
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

void Server::handle_cache(Op op, Reader& request, Writer& reply) {
  backends::KvCache& kv = *cache(request).cache;
  switch (op) {
    case Op::get_query_positions: return reply.list(span_of(kv.get_query_positions()));
    case Op::clear: return kv.clear();
    case Op::empty: return reply.number<Index>(kv.empty() ? 1 : 0);
    case Op::num_available_pages: return reply.number(kv.num_available_pages());
    case Op::total_sequence_length: return reply.number(kv.total_sequence_length());
    case Op::sequence_length: return reply.number(kv.sequence_length(request.number<SeqId>()));
    case Op::prepare_recv:
    case Op::mark_send: return transfer(op, kv, request, reply);
    default: return entries(op, kv, request, reply);
  }
}

void Server::transfer(Op op, backends::KvCache& kv, Reader& request, Writer& reply) {
  const auto id = request.number<SeqId>();
  const auto a = request.number<Index>(), b = request.number<Index>();
  if (op == Op::prepare_recv) return reply.list(span_of(kv.disagg_prepare_recv(id, a).encoded()));
  kv.disagg_mark_send(id, a, SlotRuns::decoded(request.list<Index>()), b);
}

void Server::entries(Op op, backends::KvCache& kv, Reader& request, Writer& reply) {
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
ConstTensorView Server::lent(const ConstTensorView& x) {
  if (x.data == nullptr) return x;
  input_.assign(x.data, x.data + *bytes_of(x.dtype, x.shape));
  return {x.dtype, x.shape, input_.data()};
}

void Server::give(Writer& reply, Guarded& result, std::string_view doing, const ConstTensorView* input) {
  result.check(doing);
  if (input != nullptr && input->data != nullptr && !input_.empty() &&
      std::memcmp(input_.data(), input->data, input_.size()) != 0)
    throw backend_failed(fmt::format("{}: changed its input", doing));
  reply.borrow(result.result());
}

}  // namespace mlbench::plugin
