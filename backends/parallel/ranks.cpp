#include "backends/parallel/ranks.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <regex>
#include <sstream>

#include <fmt/format.h>

#include "backends/parallel/crew.h"
#include "backends/parallel/rank_protocol.h"
#include "backends/parallel/recorder.h"
#include "backends/plugin/convert.h"
#include "backends/plugin/remote_session.h"
#include "core/error.h"
#include "models/weights_digest.h"

namespace mlbench::parallel {
namespace {

using plugin::Channel;
using plugin::Op;
using plugin::Reader;
using plugin::Writer;
using Clock = std::chrono::steady_clock;

constexpr auto kStartLimit = std::chrono::seconds(120);  // for all ranks to come: a cluster's file system may be slow
constexpr auto kHelloLimit = std::chrono::seconds(20);
constexpr int kWatchLimitMs = 1000;
constexpr auto kEndLimit = std::chrono::seconds(20);  // for mpirun to say how a rank ended, on a busy machine

Error no_ranks(const std::string& why) { return Error(ErrorKind::unavailable, "parallel.no_ranks", why); }

std::string make_secret() {
  std::array<unsigned char, 16> bytes{};
  (void)!::getrandom(bytes.data(), bytes.size(), 0);
  std::string out;
  for (const unsigned char byte : bytes) out += fmt::format("{:02x}", byte);
  return out;
}

// Of this machine: those that others can reach first.
std::vector<std::string> own_addresses() {
  std::vector<std::string> out;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) == 0) {
    for (const ifaddrs* each = all; each != nullptr; each = each->ifa_next) {
      const bool up = (each->ifa_flags & IFF_UP) != 0 && (each->ifa_flags & IFF_LOOPBACK) == 0;
      if (!up || each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET) continue;
      char text[INET_ADDRSTRLEN] = {};
      const auto* address = reinterpret_cast<const sockaddr_in*>(each->ifa_addr);
      out.emplace_back(::inet_ntop(AF_INET, &address->sin_addr, text, sizeof text));
    }
    ::freeifaddrs(all);
  }
  out.emplace_back("127.0.0.1");
  return out;
}

// Where ranks come to.
class Listener {
 public:
  // `local`: for ranks of this machine alone.
  explicit Listener(bool local) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    constexpr int kWaiting = 1024;
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(local ? INADDR_LOOPBACK : INADDR_ANY);
    socklen_t length = sizeof at;
    auto* const address = reinterpret_cast<sockaddr*>(&at);
    if (fd_ < 0 || ::bind(fd_, address, length) != 0 || ::listen(fd_, kWaiting) != 0 ||
        ::getsockname(fd_, address, &length) != 0)
      throw no_ranks(fmt::format("no port to meet ranks at: {}", std::strerror(errno)));
    meeting_ = {make_secret(), ntohs(at.sin_port), local ? std::vector<std::string>{"127.0.0.1"} : own_addresses()};
  }
  ~Listener() { ::close(fd_); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  [[nodiscard]] const Meeting& meeting() const { return meeting_; }
  // Whoever comes within some time; -1: nobody.
  [[nodiscard]] int accept() const {
    constexpr int kStepMs = 20;
    pollfd entry{fd_, POLLIN, 0};
    if (::poll(&entry, 1, kStepMs) != 1) return -1;
    const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
    const int yes = 1;
    if (fd >= 0) (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return fd;
  }

 private:
  int fd_;
  Meeting meeting_;
};

// The line on which a rank says what it is doing.
class WatchLine {
 public:
  explicit WatchLine(int fd = -1) : fd_(fd) {}
  WatchLine(WatchLine&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  WatchLine& operator=(WatchLine&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  WatchLine(const WatchLine&) = delete;
  WatchLine& operator=(const WatchLine&) = delete;
  ~WatchLine() {
    if (fd_ >= 0) ::close(fd_);
  }

  // Nothing where it does not answer.
  [[nodiscard]] std::optional<Doing> ask() const {
    if (::send(fd_, &kWhatAreYouDoing, 1, MSG_NOSIGNAL) != 1) return std::nullopt;
    pollfd entry{fd_, POLLIN, 0};
    unsigned char answer = 0;
    if (::poll(&entry, 1, kWatchLimitMs) != 1 || ::recv(fd_, &answer, 1, 0) != 1) return std::nullopt;
    return static_cast<Doing>(answer);
  }

 private:
  int fd_;
};

class RankLink final : public plugin::Caller {
 public:
  RankLink(double time_limit_s, std::unique_ptr<Channel> channel, std::function<std::string()> how_it_ended)
      : Caller("", time_limit_s), how_it_ended_(std::move(how_it_ended)) {
    connect(std::move(channel));
  }
  // From another thread than the one that asks.
  void shut() const {
    if (connected() != nullptr) connected()->shut();
  }

 private:
  std::string how_it_ended() override { return how_it_ended_(); }
  void end_it() override {}

  std::function<std::string()> how_it_ended_;
};

struct Guest {
  Hello hello;
  std::unique_ptr<Channel> requests;
  WatchLine watch;
};

class MpiRanks final : public Ranks {
 public:
  MpiRanks(const Launcher& launcher, const RanksOptions& options)
      : options_(options),
        listener_(!options.given),
        launched_(launcher, options.count, options.given, to_string(listener_.meeting())) {
    std::vector<Guest> guests(static_cast<std::size_t>(options.count));
    receive(guests);
    give_places(guests);
  }

  // The links' ends are what ranks end with.
  ~MpiRanks() override {
    links_.clear();
    watches_.clear();
    launched_.finish();
    for (const RankInfo& info : infos_) {
      if (info.host == own_host_) LaunchedRanks::bury(info.pid);
    }
  }
  MpiRanks(const MpiRanks&) = delete;
  MpiRanks& operator=(const MpiRanks&) = delete;

  [[nodiscard]] const std::vector<RankInfo>& ranks() const override { return infos_; }
  [[nodiscard]] Index take_mapped() override {
    const auto count = std::ranges::count(mapped_, 1);
    std::ranges::fill(mapped_, 0);
    return count;
  }
  [[nodiscard]] std::string name(Index worker) const override {
    return fmt::format("rank {} of {} on {}", worker, infos_.size(), infos_[static_cast<std::size_t>(worker)].host);
  }

  [[nodiscard]] LoadedParts load(const Model& model, const backends::RunConfig& run) override {
    const auto& source = model.weights->source();
    const std::string stamp = !source            ? ""
                              : source->rounding ? source->rounding->sample_digest
                                                 : weights_sample_digest(model);
    LoadedParts out;
    out.sessions.resize(static_cast<std::size_t>(workers_of(run)));
    Crew crew(workers_of(run));
    const auto each = [&](Index worker) {
      const auto at = static_cast<std::size_t>(worker);
      out.sessions[at] = load_part(at, model, run_of_worker(run, model.config.num_layers, worker), stamp);
    };
    std::mutex mutex;
    std::optional<Index> first;
    const auto on_failure = [&](Index worker) {
      const std::lock_guard lock(mutex);
      if (first) return;
      first = worker;
      leave();
    };
    const std::vector<std::exception_ptr> thrown = crew.run(0, workers_of(run), each, on_failure);
    if (!first) return out;
    try {
      std::rethrow_exception(thrown[static_cast<std::size_t>(*first)]);
    } catch (const Error& error) {
      throw Error(error.kind(), error.code(), fmt::format("{}: {}", name(*first), error.message()));
    }
  }

  [[nodiscard]] std::vector<WorkerTimes> take_times(Index workers, bool with_events) override {
    std::vector<WorkerTimes> out;
    for (Index worker = 0; worker < workers; ++worker) {
      const auto at = static_cast<std::size_t>(worker);
      RankLink& link = *links_[at];
      Writer message;
      message.number<unsigned char>(with_events ? 1 : 0);
      const double asked = Recorder::now();
      link.read("take_times", link.ask("take_times", Op::take_times, message), [&](Reader& answer) {
        // Ranks of this machine have this clock; of another's, half the way there and back is between the two.
        const double heard = Recorder::now();
        out.push_back(get_times(
            answer, [&](double now) { return infos_[at].host == own_host_ ? 0.0 : (asked + heard) / 2.0 - now; }));
      });
    }
    return out;
  }

  void leave() override {
    for (const auto& link : links_) link->shut();
    launched_.ask_to_end();
  }

  // Who does not answer, or computes while all others wait.
  [[nodiscard]] Index culprit(Index worker) override {
    std::optional<Index> computing;
    for (std::size_t rank = 0; rank < watches_.size(); ++rank) {
      const std::optional<Doing> doing = watches_[rank].ask();
      if (!doing) return static_cast<Index>(rank);
      if (*doing == Doing::computing && !computing) computing = static_cast<Index>(rank);
    }
    return computing.value_or(worker);
  }

 private:
  void receive(std::vector<Guest>& guests) {
    const auto until = Clock::now() + kStartLimit;
    Index missing = 2 * options_.count;  // lines
    while (missing > 0) {
      const int fd = listener_.accept();
      if (fd >= 0) {
        missing -= welcome(fd, guests) ? 1 : 0;
        continue;
      }
      if (launched_.ended()) throw no_ranks(fmt::format("ranks ended before they came: {}", last_words()));
      if (Clock::now() > until)
        throw no_ranks(fmt::format("{} of {} ranks did not come within {} s: {}", (missing + 1) / 2, options_.count,
                                   kStartLimit.count(), last_words()));
    }
  }

  // Whether it was one of ours.
  bool welcome(int fd, std::vector<Guest>& guests) const {
    auto channel = std::make_unique<Channel>(fd);
    Hello hello;
    try {
      const auto limit = Clock::now() + kHelloLimit;
      const Channel::Message message = channel->receive(limit);
      Reader reader(message.bytes);
      hello = get_hello(reader);
      const bool fits = hello.rank >= 0 && hello.rank < options_.count && hello.size == options_.count;
      if (hello.secret != listener_.meeting().secret) return false;
      if (!fits)
        throw no_ranks(fmt::format("rank {} of {} came, {} are needed", hello.rank, hello.size, options_.count));
      if (hello.version != options_.version)
        throw no_ranks(fmt::format("rank {} on {} is of version {}, this is {}: all must be of one", hello.rank,
                                   hello.host, hello.version, options_.version));
      Writer answer;
      answer.text(listener_.meeting().secret);
      channel->send(0, answer, limit);
    } catch (const Error&) {
      throw;
    } catch (const std::exception&) {  // not one of ours
      return false;
    }
    Guest& guest = guests[static_cast<std::size_t>(hello.rank)];
    guest.hello = hello;
    if (hello.line == Line::watch) {
      guest.watch = WatchLine(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    } else {
      guest.requests = std::move(channel);
    }
    return true;
  }

  void give_places(std::vector<Guest>& guests) {
    std::map<std::string, Index> per_host;
    for (const Guest& guest : guests) {
      const Hello& hello = guest.hello;
      infos_.push_back({.host = hello.host,
                        .pid = static_cast<pid_t>(hello.pid),
                        .local = per_host[hello.host]++,
                        .processors = hello.processors});
    }
    mapped_.resize(guests.size());
    for (std::size_t rank = 0; rank < guests.size(); ++rank) {
      infos_[rank].locals = per_host[infos_[rank].host];
      watches_.push_back(std::move(guests[rank].watch));
      links_.push_back(std::make_shared<RankLink>(options_.time_limit_s, std::move(guests[rank].requests),
                                                  [this, rank] { return how_it_ended(rank); }));
    }
    for (std::size_t rank = 0; rank < guests.size(); ++rank) {
      Writer message;
      message.text(options_.backend);
      message.number(infos_[rank].local);
      message.number(infos_[rank].locals);
      message.number<unsigned char>(options_.given ? 1 : 0);
      RankLink& link = *links_[rank];
      link.read("take_place", link.ask("take_place", Op::take_place, message),
                [&](Reader& answer) { infos_[rank].pinned = answer.number<unsigned char>() != 0; });
    }
  }

  // A rank that sees the checkpoint's files maps its part itself; others are sent theirs.
  std::unique_ptr<backends::Session> load_part(std::size_t rank, const Model& model, const backends::RunConfig& run,
                                               const std::string& stamp) {
    const bool mapped = maps_part(rank, model, run, stamp);
    if (mapped) mapped_[rank] = 1;
    if (!mapped) send_part(rank, part_of(model, split_of(run), run.shard, run.stage));
    Writer message;
    put(message, config_of_part(model.config, split_of(run), run.stage));
    put(message, run);
    message.text(model.origin);
    std::unique_ptr<backends::Session> session;
    RankLink& link = *links_[rank];
    link.read("load", link.ask("load", Op::load, message),
              [&](Reader& answer) { session = plugin::make_remote_session(links_[rank], model.config, answer); });
    return session;
  }

  bool maps_part(std::size_t rank, const Model& model, const backends::RunConfig& run, const std::string& stamp) {
    const auto& source = model.weights->source();
    if (!source) return false;
    Writer message;
    message.text(source->folder);
    message.text(source->overrides);
    message.text(stamp);
    message.text(source->rounding ? mlbench::name(source->rounding->dtype) : "");
    put(message, run);
    bool mapped = false;
    RankLink& link = *links_[rank];
    link.read("load", link.ask("load", Op::map_part, message),
              [&](Reader& answer) { mapped = answer.number<unsigned char>() != 0; });
    return mapped;
  }

  void send_part(std::size_t rank, const Model& part) {
    RankLink& link = *links_[rank];
    std::map<std::pair<const std::byte*, Index>, std::string> sent;
    for (const plugin::NamedTensor& tensor : plugin::tensors_of(part.config)) {
      const WeightView& view = part.weights->get(tensor.name);
      const auto [same, fresh] = sent.emplace(std::pair(view.data, view.size()), tensor.name);
      Writer message;
      message.text(tensor.name);
      message.text(fresh ? "" : same->second);
      if (fresh) message.tensor({view.dtype, {view.rows, view.cols}, view.data});
      link.ask_nothing("load", Op::give_tensor, message);
    }
  }

  // What mpirun says of it.
  std::string how_it_ended(std::size_t rank) {
    constexpr double kStep = 0.05;
    const std::lock_guard lock(ending_);
    if (options_.given) return "its process is gone";
    // Lines are broken at any of its spaces.
    const std::regex signalled(
        fmt::format(R"(rank\s+{}\s+with\s+PID\s+\d+\s+on\s+node\s+\S+\s+exited\s+on\s+signal\s+(\d+))", rank));
    const auto until = Clock::now() + kEndLimit;
    for (bool ended = false; !ended;) {
      ended = launched_.wait(kStep) || Clock::now() > until;  // asked first: then it has said everything
      std::smatch match;
      const std::string said = launched_.said();
      if (std::regex_search(said, match, signalled)) {
        const int signal = std::stoi(match[1]);
        const char* name = ::sigabbrev_np(signal);
        return fmt::format("its process died of SIG{}", name == nullptr ? match[1].str() : name);
      }
    }
    return fmt::format("its process is gone: {}", last_words());
  }

  [[nodiscard]] std::string last_words() const {
    constexpr std::size_t kMost = 300;
    std::istringstream said(launched_.said());
    std::string out;
    for (std::string word; said >> word;) {
      const bool rule = word.find_first_not_of('-') == std::string::npos;
      if (!rule) out += (out.empty() ? "" : " ") + word;
    }
    if (out.empty()) return "they said nothing";
    return one_line(out.size() > kMost ? out.substr(0, kMost) + "..." : out);
  }

  RanksOptions options_;
  Listener listener_;
  LaunchedRanks launched_;
  std::string own_host_ = host_name();
  std::vector<RankInfo> infos_;
  std::vector<char> mapped_;  // of each rank; each is written by the thread that loads it
  std::vector<WatchLine> watches_;
  std::vector<std::shared_ptr<RankLink>> links_;
  std::mutex ending_;
};

}  // namespace

std::unique_ptr<Ranks> start_ranks(const Launcher& launcher, const RanksOptions& options) {
  return std::make_unique<MpiRanks>(launcher, options);
}

}  // namespace mlbench::parallel
