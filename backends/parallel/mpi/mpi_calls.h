// MPI as the files here call it: errors that are thrown, communicators that are freed.
#pragma once

#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <span>
#include <vector>

#include "backends/parallel/rank_protocol.h"

namespace mlbench::parallel {

// Throws ErrorKind::internal, backend.failed.
void check(int status, const char* doing);

// A communicator of its own, of these ranks of the world; all of them make it, with one tag.
class Communicator {
 public:
  Communicator(const std::vector<int>& ranks, int tag);
  ~Communicator() { MPI_Comm_free(&comm_); }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  [[nodiscard]] MPI_Comm get() const { return comm_; }

 private:
  MPI_Comm comm_ = MPI_COMM_NULL;
};

[[nodiscard]] std::vector<int> numbered(Index first, Index count);

// Says so while it is there.
class Waiting {
 public:
  explicit Waiting(std::atomic<Doing>& doing) : doing_(doing) { doing_ = Doing::waiting; }
  ~Waiting() { doing_ = Doing::computing; }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  std::atomic<Doing>& doing_;
};

// Counts of MPI are int.
template <class T, class Piece>
void in_pieces(std::span<T> values, const Piece& piece) {
  constexpr std::size_t kMostAtOnce = std::size_t{1} << 28U;  // elements of one call
  for (std::size_t first = 0; first < values.size(); first += kMostAtOnce) {
    const auto some = values.subspan(first, std::min(kMostAtOnce, values.size() - first));
    piece(some.data(), static_cast<int>(some.size()));
  }
}

}  // namespace mlbench::parallel
