// The answering side of a connection: a backend, its sessions and caches, asked one thing after another.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "backends/backend.h"
#include "backends/plugin/guarded.h"
#include "backends/plugin/wire.h"
#include "core/error.h"

namespace mlbench::plugin {

void send_error(Channel& channel, const Error& error);

class Server {
 public:
  Server(backends::Backend& backend, Channel& channel) : backend_(backend), channel_(channel) {}
  virtual ~Server() = default;
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Returns when the other side closes the channel.
  void run();

 protected:
  // Reads a model of this configuration and its weights from what follows in the request.
  [[nodiscard]] virtual Model read_model(ModelConfig config, Reader& request) = 0;
  // What the session is loaded under.
  [[nodiscard]] virtual backends::RunConfig run_config(const backends::RunConfig& asked) { return asked; }
  // Before the next request is waited for.
  virtual void have_time() {}
  // A request is being answered, or it has been.
  virtual void set_busy(Op /*op*/, bool /*busy*/) {}
  // Operations beyond those of backends.
  virtual void handle_other(Op op, Reader& request, Writer& reply);

 private:
  void answer(Op op, Reader request);
  struct Loaded {
    Model model;  // outlives the session
    std::unique_ptr<backends::Session> session;
  };
  struct Cache {
    std::uint32_t session = 0;
    std::unique_ptr<backends::KvCache> cache;
  };
  Cache& cache(Reader& request);
  backends::Session& session(std::uint32_t id);
  void unload(std::uint32_t id);
  static TensorView room(Reader& request, Guarded& where);
  void handle(Op op, Reader& request, Writer& reply);
  void handle_backend(Op op, Reader& request, Writer& reply);
  void measure_rates(Reader& request, Writer& reply);
  void load(Reader& request, Writer& reply);
  void handle_session(Op op, Reader& request, Writer& reply);
  void run_rows(Op op, Reader& request, Writer& reply);
  void change_cache(Op op, Reader& request);
  void handle_cache(Op op, Reader& request, Writer& reply);
  static void transfer(Op op, backends::KvCache& kv, Reader& request, Writer& reply);
  void entries(Op op, backends::KvCache& kv, Reader& request, Writer& reply);
  ConstTensorView lent(const ConstTensorView& x);
  void give(Writer& reply, Guarded& result, std::string_view doing, const ConstTensorView* input = nullptr);

  backends::Backend& backend_;
  Channel& channel_;
  std::map<std::uint32_t, std::unique_ptr<Loaded>> sessions_;
  std::map<std::uint32_t, Cache> caches_;  // go before the sessions
  std::uint32_t last_session_ = 0, last_cache_ = 0;
  Guarded result_, other_result_;
  std::vector<std::byte> input_;
};

}  // namespace mlbench::plugin
