#include "backends/parallel/rank.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>
#include <optional>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backends/parallel/part_holders.h"
#include "backends/parallel/recorder.h"
#include "backends/plugin/server.h"
#include "core/error.h"
#include "core/workers.h"
#include "models/checkpoint.h"
#include "models/rounded.h"
#include "models/weights_digest.h"

namespace mlbench::parallel {
namespace {

using plugin::Channel;
using plugin::Op;
using plugin::Reader;
using plugin::Reply;
using plugin::Writer;

constexpr int kConnectLimitMs = 3000;                    // for an address that may lead nowhere
constexpr auto kAnswerLimit = std::chrono::seconds(30);  // for the program, which may be busy with other ranks

std::vector<std::size_t> own_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<std::size_t> out;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return out;
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) out.push_back(cpu);
  }
  return out;
}

std::uint64_t peak_memory() {
  rusage usage{};
  (void)::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

// A connected socket; -1 where there is none within the limit.
int try_to_connect(const std::string& address, int port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  if (::inet_pton(AF_INET, address.c_str(), &to.sin_addr) != 1) return -1;
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  int failure = 0;
  socklen_t length = sizeof failure;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    pollfd entry{fd, POLLOUT, 0};
    const bool done = errno == EINPROGRESS && ::poll(&entry, 1, kConnectLimitMs) == 1 &&
                      ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &length) == 0 && failure == 0;
    if (!done) {
      ::close(fd);
      return -1;
    }
  }
  const int yes = 1;
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return fd;
}

// To the program, and not to something else that listens there: it answers to the secret.
struct Connection {
  int fd = -1;
  std::unique_ptr<Channel> channel;
};

Connection connect(const Meeting& meeting, const Hello& hello) {
  for (const std::string& address : meeting.addresses) {
    const int fd = try_to_connect(address, meeting.port);
    if (fd < 0) continue;
    Connection out{fd, std::make_unique<Channel>(fd)};
    try {
      Writer message;
      put(message, hello);
      const auto limit = std::chrono::steady_clock::now() + kAnswerLimit;
      out.channel->send(static_cast<std::uint32_t>(Reply::ok), message, limit);
      const Channel::Message welcome = out.channel->receive(limit);
      Reader reader(welcome.bytes);
      if (reader.text() == meeting.secret) return out;
    } catch (const std::exception&) {  // then it was not the program
    }
  }
  throw Error(ErrorKind::unavailable, "parallel.unreachable",
              fmt::format("rank {} on {}: the program does not answer at {}, port {}", hello.rank, hello.host,
                          fmt::join(meeting.addresses, ", "), meeting.port));
}

// ---- being watched ----

int the_request_line = -1;  // NOLINT: for a signal handler

// mpirun ends the others when one rank has died. Tells the program that this one is not to blame.
extern "C" void say_stopped(int /*signal*/) {
  const plugin::MessageHead stopped{.kind = static_cast<std::uint32_t>(Reply::stopped)};
  (void)!::write(the_request_line, &stopped, sizeof stopped);
  ::_exit(0);
}

// Says what the rank is doing; when the program is gone, so is this process, whatever it waits for.
void be_watched(int fd, const std::atomic<Doing>& doing, const std::atomic<bool>& leaving) {
  constexpr auto kPatience = std::chrono::seconds(5);
  pollfd entry{fd, POLLIN, 0};
  while (::poll(&entry, 1, -1) >= 0 || errno == EINTR) {
    unsigned char byte = 0;
    const ssize_t got = ::recv(fd, &byte, 1, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) break;
    const auto answer = static_cast<unsigned char>(doing.load());
    (void)::send(fd, &answer, 1, MSG_NOSIGNAL);
  }
  // The rank leaves by itself, unless it cannot.
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!leaving && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  if (!leaving) ::_exit(1);
}

// ---- serving ----

class RankServer final : public plugin::Server {
 public:
  RankServer(const RankOptions& options, backends::Backend& backend, const RankPlace& place, Channel& channel,
             std::atomic<Doing>& doing)
      : Server(backend, channel),
        options_(options),
        backend_(backend),
        channel_(channel),
        place_(place),
        doing_(doing) {}

 private:
  void set_busy(Op op, bool busy) override {
    doing_ = busy ? Doing::computing : Doing::idle;
    const double now = Recorder::now();
    if (!busy && op != Op::take_times) recorder_.note(Activity::work, busy_since_, now);
    busy_since_ = now;
  }
  void handle_other(Op op, Reader& request, Writer& reply) override {
    if (op == Op::take_times) return give_times(request, reply);
    if (op == Op::map_part) return map_part(request, reply);
    if (op != Op::give_tensor) return Server::handle_other(op, request, reply);
    const std::string name = request.text();
    const std::string same_as = request.text();  // whose memory it shares; empty: nobody's
    if (!same_as.empty()) {
      weights_->put(name, weights_->get(same_as));
      return;
    }
    const ConstTensorView value = request.tensor();
    auto bytes = std::make_shared<std::vector<std::byte>>(
        value.data, value.data + element_count(value.shape) * static_cast<Index>(size_bytes(value.dtype)));
    weights_->put(name, {value.dtype, value.shape.at(0), value.shape.at(1), bytes->data()});
    weights_->keep(bytes);
  }

  // Answers whether this rank sees the checkpoint as the program does.
  void map_part(Reader& request, Writer& reply) {
    const std::string folder = request.text(), overrides = request.text(), stamp = request.text();
    const std::optional<DType> rounded = parse_dtype(request.text());
    const backends::RunConfig run = plugin::get<backends::RunConfig>(request);
    bool same = false;
    try {
      const Model whole = load_checkpoint(folder, {.overrides = nlohmann::json::parse(overrides)});
      same = weights_sample_digest(whole) == stamp;
      if (same) {
        const Model part = part_of(whole, split_of(run), run.shard, run.stage);
        mapped_ = rounded ? rounded_part(part, *rounded).weights : part.weights;
      }
    } catch (const Error&) {  // then it is sent
    }
    reply.number<unsigned char>(same ? 1 : 0);
  }

  [[nodiscard]] static Model rounded_part(const Model& part, DType dtype) {
    Workers workers(Workers::hardware());  // of this rank's share
    return rounded_to(part, dtype, workers);
  }

  [[nodiscard]] Model read_model(ModelConfig config, Reader& request) override {
    Model model;
    model.config = std::move(config);
    model.origin = request.text();
    if (mapped_ != nullptr) {
      model.weights = std::exchange(mapped_, nullptr);
    } else {
      model.weights = std::exchange(weights_, std::make_shared<Weights>());
    }
    return model;
  }

  [[nodiscard]] backends::RunConfig run_config(const backends::RunConfig& asked) override {
    backends::RunConfig run = asked;
    run.device = device_of_rank(asked.device, backend_.devices(), place_);
    const RankLinks links = options_.links(run, options_.rank, doing_);
    run.group = recorded(links.group, recorder_);
    if (links.transports != nullptr) run.transports = recorded(links.transports, recorder_);
    std::erase_if(groups_, [](const auto& each) { return each.expired(); });
    std::erase_if(transports_, [](const auto& each) { return each.expired(); });
    groups_.push_back(links.group);
    transports_.push_back(links.transports);
    return run;
  }

  // What was sent to another rank may need this one to go on.
  void have_time() override {
    constexpr int kQuickTries = 2000;  // most of it has gone by then; where nobody takes it, that may last
    for (int tries = 0; !channel_.has_something(tries < kQuickTries ? 0 : 1); ++tries) {
      const auto moves = [](const auto& each) {
        const auto link = each.lock();
        return link != nullptr && link->moving();
      };
      if (std::ranges::count_if(groups_, moves) + std::ranges::count_if(transports_, moves) == 0) return;
    }
  }

  void give_times(Reader& request, Writer& reply) {
    WorkerTimes times = recorder_.take();
    if (request.number<unsigned char>() == 0) times.events.clear();
    times.peak_memory_bytes = peak_memory();
    put(reply, times, Recorder::now());
  }

  const RankOptions& options_;
  const backends::Backend& backend_;
  const Channel& channel_;
  RankPlace place_;
  std::atomic<Doing>& doing_;
  Recorder recorder_;
  double busy_since_ = 0.0;
  // Of its sessions.
  std::vector<std::weak_ptr<backends::Group>> groups_;
  std::vector<std::weak_ptr<backends::KvTransports>> transports_;
  // Of the next model.
  std::shared_ptr<Weights> weights_ = std::make_shared<Weights>();  // that it was sent
  std::shared_ptr<const Weights> mapped_;
};

// The first request: which backend, and the rank's place.
std::pair<std::string, RankPlace> take_place(Channel& channel) {
  const Channel::Message message = channel.receive();
  if (static_cast<Op>(message.kind) != Op::take_place) throw plugin::Malformed("a rank takes its place first");
  Reader request(message.bytes);
  std::string backend = request.text();
  RankPlace place;
  place.local = request.number<Index>();
  place.locals = request.number<Index>();
  place.given = request.number<unsigned char>() != 0;
  Writer reply;
  reply.number<unsigned char>(pin_to_share(place) ? 1 : 0);
  channel.send(static_cast<std::uint32_t>(Reply::ok), reply);
  return {std::move(backend), place};
}

void tell(Channel& channel, const Error& error) {
  try {
    plugin::send_error(channel, error);
  } catch (const plugin::Closed&) {  // then nobody is left to be told
  }
}

}  // namespace

std::string device_of_rank(const std::string& named, const std::vector<backends::DeviceInfo>& devices,
                           const RankPlace& place) {
  if (!named.empty()) return named;
  std::vector<std::string> ids;
  for (const backends::DeviceInfo& device : devices) {
    if (device.id != backends::kHostExecutor) ids.push_back(device.id);
  }
  return ids.empty() ? named : ids[static_cast<std::size_t>(place.local) % ids.size()];
}

bool pin_to_share(const RankPlace& place) {
  const std::vector<std::size_t> all = own_processors();
  const auto count = static_cast<Index>(all.size());
  if (place.given && count < ::sysconf(_SC_NPROCESSORS_ONLN)) return true;
  if (place.locals < 1 || place.locals > count) return false;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (Index i = count * place.local / place.locals; i < count * (place.local + 1) / place.locals; ++i)
    CPU_SET(all[static_cast<std::size_t>(i)], &set);
  return ::sched_setaffinity(0, sizeof set, &set) == 0;
}

void serve_as_rank(const RankOptions& options) {
  Hello hello{.secret = options.meeting.secret,
              .version = options.version,
              .line = Line::watch,
              .rank = options.rank,
              .size = options.size,
              .host = host_name(),
              .pid = ::getpid(),
              .processors = static_cast<Index>(own_processors().size())};
  const Connection watch = connect(options.meeting, hello);
  hello.line = Line::requests;
  const Connection requests = connect(options.meeting, hello);
  the_request_line = requests.fd;
  (void)::signal(SIGTERM, say_stopped);

  std::atomic<Doing> doing = Doing::idle;
  std::atomic<bool> leaving = false;
  const std::jthread watched([&] { be_watched(watch.fd, doing, leaving); });
  try {
    const auto [name, place] = take_place(*requests.channel);
    const auto backend = options.make_backend(name);
    RankServer(options, *backend, place, *requests.channel, doing).run();
  } catch (const plugin::Closed&) {
  } catch (const Error& error) {
    tell(*requests.channel, error);
  } catch (const std::exception& error) {  // what it was sent cannot be
    tell(*requests.channel, Error(ErrorKind::internal, "backend.failed", error.what()));
  }
  leaving = true;
  watch.channel->shut();
}

}  // namespace mlbench::parallel
