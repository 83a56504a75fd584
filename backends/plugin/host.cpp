#include "backends/plugin/host.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>

#include <fmt/format.h>

#include "backends/plugin/convert.h"
#include "backends/plugin/description.h"
#include "backends/plugin/in_process.h"
#include "backends/plugin/library.h"
#include "backends/plugin/server.h"

namespace mlbench::plugin {
namespace {

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

// Of the library, whose weights stand in memory that the program shares.
class LibraryServer final : public Server {
 public:
  using Server::Server;

 private:
  [[nodiscard]] Model read_model(ModelConfig config, Reader& request) override {
    Model model;
    model.config = std::move(config);
    model.origin = request.text();
    const std::shared_ptr<const std::byte> bytes = mapped_weights(request.number<std::uint64_t>());
    const auto weights = std::make_shared<Weights>();
    weights->keep(bytes);
    for (const NamedTensor& tensor : tensors_of(model.config)) {
      const DType dtype = request.dtype();
      const auto at = request.number<std::uint64_t>();
      const bool vector = tensor.shape.size() == 1;
      weights->put(tensor.name, {dtype, vector ? 1 : tensor.shape[0], tensor.shape.back(), bytes.get() + at});
    }
    model.weights = weights;
    return model;
  }
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
    LibraryServer(*backend, channel).run();
  } catch (const Error& error) {
    try {
      send_error(channel, error);
    } catch (const Closed&) {  // then nobody is left to be told
    }
  } catch (const Closed&) {
  }
  (void)std::fflush(nullptr);
  ::_exit(0);  // without the libraries' own endings, which run after what they need
}

}  // namespace mlbench::plugin
