#include "backends/parallel/mpi/mpi_group.h"

#include <mpi.h>
#include <unistd.h>

#include <vector>

#include "backends/parallel/mpi/mpi_calls.h"
#include "backends/parallel/mpi/mpi_transport.h"
#include "backends/parallel/part_holders.h"

namespace mlbench::parallel {
namespace {

// Rows that follow each other reach the next stage in order: MPI keeps the order of messages of one tag.
class MpiGroup final : public backends::Group {
 public:
  // `first`: the rank of the instance's first worker.
  MpiGroup(const Split& split, Index first, Index worker, std::atomic<Doing>& doing)
      : doing_(doing),
        all_(numbered(first, split.workers()), kTagOfAll),
        shards_(numbered(first + worker / split.tensor_parallel * split.tensor_parallel, split.tensor_parallel),
                kTagOfStage),
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
      // NOLINTNEXTLINE(clang-analyzer-optin.mpi.MPI-Checker): nothing is on its way the first time
      check(MPI_Wait(&sending_, MPI_STATUS_IGNORE), "rows to the next stage");
      sent_.assign(data, data + count);
      check(MPI_Isend(sent_.data(), count, MPI_BYTE, behind_, kTagOfRows, all_.get(), &sending_),
            "rows to the next stage");
    });
  }
  [[nodiscard]] bool moving() override {
    int gone = 0;
    check(MPI_Test(&sending_, &gone, MPI_STATUS_IGNORE), "rows to the next stage");
    return gone == 0;
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

RankLinks make_mpi_links(const backends::RunConfig& run, Index rank, std::atomic<Doing>& doing) {
  const Split split = split_of(run);
  const Index place = rank % split.workers();
  return {.group = std::make_shared<MpiGroup>(split, rank - place, place, doing),
          .transports = run.disaggregated ? make_mpi_transports(run, rank, doing) : nullptr};
}

}  // namespace mlbench::parallel
