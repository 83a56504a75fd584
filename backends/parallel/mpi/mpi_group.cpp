#include "backends/parallel/mpi/mpi_group.h"

#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::parallel {
namespace {

constexpr std::size_t kMostAtOnce = std::size_t{1} << 28U;  // elements of one call: counts are int

void check(int status, const char* doing) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(status, text, &length);
  throw Error(ErrorKind::internal, "backend.failed", one_line(fmt::format("MPI: {}: {}", doing, text)));
}

// A communicator of its own.
class Communicator {
 public:
  Communicator(const std::vector<int>& ranks, int tag) {
    MPI_Group world = MPI_GROUP_NULL, group = MPI_GROUP_NULL;
    check(MPI_Comm_group(MPI_COMM_WORLD, &world), "the group of all ranks");
    check(MPI_Group_incl(world, static_cast<int>(ranks.size()), ranks.data(), &group), "a group of ranks");
    check(MPI_Comm_create_group(MPI_COMM_WORLD, group, tag, &comm_), "a communicator");
    MPI_Group_free(&group);
    MPI_Group_free(&world);
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
  }
  ~Communicator() { MPI_Comm_free(&comm_); }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  [[nodiscard]] MPI_Comm get() const { return comm_; }

 private:
  MPI_Comm comm_ = MPI_COMM_NULL;
};

std::vector<int> numbered(Index first, Index count) {
  std::vector<int> out(static_cast<std::size_t>(count));
  std::iota(out.begin(), out.end(), static_cast<int>(first));
  return out;
}

class Waiting {
 public:
  explicit Waiting(std::atomic<Doing>& doing) : doing_(doing) { doing_ = Doing::waiting; }
  ~Waiting() { doing_ = Doing::computing; }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  std::atomic<Doing>& doing_;
};

// Rows that follow each other reach the next stage in order: MPI keeps the order of messages of one tag.
class MpiGroup final : public backends::Group {
 public:
  MpiGroup(const Split& split, Index worker, std::atomic<Doing>& doing)
      : doing_(doing),
        all_(numbered(0, split.workers()), kTagOfAll),
        shards_(numbered(worker / split.tensor_parallel * split.tensor_parallel, split.tensor_parallel), kTagOfStage),
        before_(static_cast<int>(worker - split.tensor_parallel)),
        behind_(static_cast<int>(worker + split.tensor_parallel)) {}
  ~MpiGroup() override {
    if (sending_ != MPI_REQUEST_NULL) MPI_Request_free(&sending_);
  }
  MpiGroup(const MpiGroup&) = delete;
  MpiGroup& operator=(const MpiGroup&) = delete;

  void all_reduce(std::span<float> values) override {
    const Waiting waiting(doing_);
    in_pieces(values, [this](float* data, int count) {
      check(MPI_Allreduce(MPI_IN_PLACE, data, count, MPI_FLOAT, MPI_SUM, shards_.get()), "all-reduce");
    });
  }
  // Does not wait for the next stage, but for it to have taken what was sent before.
  void send_on(std::span<const std::byte> bytes) override {
    const Waiting waiting(doing_);
    in_pieces(bytes, [this](const std::byte* data, int count) {
      check(MPI_Wait(&sending_, MPI_STATUS_IGNORE), "rows to the next stage");
      sent_.assign(data, data + count);
      check(MPI_Isend(sent_.data(), count, MPI_BYTE, behind_, kTagOfRows, all_.get(), &sending_),
            "rows to the next stage");
    });
  }
  void receive(std::span<std::byte> bytes) override {
    const Waiting waiting(doing_);
    in_pieces(bytes, [this](std::byte* data, int count) {
      check(MPI_Recv(data, count, MPI_BYTE, before_, kTagOfRows, all_.get(), MPI_STATUS_IGNORE),
            "rows from the stage before");
    });
  }

 private:
  static constexpr int kTagOfAll = 1, kTagOfStage = 2, kTagOfRows = 3;

  template <class T, class Piece>
  static void in_pieces(std::span<T> values, const Piece& piece) {
    for (std::size_t first = 0; first < values.size(); first += kMostAtOnce) {
      const auto some = values.subspan(first, std::min(kMostAtOnce, values.size() - first));
      piece(some.data(), static_cast<int>(some.size()));
    }
  }

  std::atomic<Doing>& doing_;
  Communicator all_, shards_;
  int before_, behind_;
  std::vector<std::byte> sent_;
  MPI_Request sending_ = MPI_REQUEST_NULL;
};

}  // namespace

MpiWorld::MpiWorld() {
  int rank = 0, size = 1, provided = 0;
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "start");
  check(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "rank");
  check(MPI_Comm_size(MPI_COMM_WORLD, &size), "number of ranks");
  rank_ = rank;
  size_ = size;
}

MpiWorld::~MpiWorld() { MPI_Finalize(); }

std::string MpiWorld::told_by_first(std::string text) const {
  int length = static_cast<int>(text.size());
  check(MPI_Bcast(&length, 1, MPI_INT, 0, MPI_COMM_WORLD), "a length from rank 0");
  text.resize(static_cast<std::size_t>(length));
  check(MPI_Bcast(text.data(), length, MPI_CHAR, 0, MPI_COMM_WORLD), "a text from rank 0");
  return text;
}

void MpiWorld::abandon(int exit_code) { ::_exit(exit_code); }

std::shared_ptr<backends::Group> make_mpi_group(const Split& split, Index worker, std::atomic<Doing>& doing) {
  return std::make_shared<MpiGroup>(split, worker, doing);
}

}  // namespace mlbench::parallel
