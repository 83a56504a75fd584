#include "backends/parallel/mpi/mpi_calls.h"

#include <numeric>

#include <fmt/format.h>

#include "core/error.h"

namespace mlbench::parallel {

void check(int status, const char* doing) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(status, text, &length);
  throw Error(ErrorKind::internal, "backend.failed", one_line(fmt::format("MPI: {}: {}", doing, text)));
}

Communicator::Communicator(const std::vector<int>& ranks, int tag) {
  MPI_Group world = MPI_GROUP_NULL, group = MPI_GROUP_NULL;
  check(MPI_Comm_group(MPI_COMM_WORLD, &world), "the group of all ranks");
  check(MPI_Group_incl(world, static_cast<int>(ranks.size()), ranks.data(), &group), "a group of ranks");
  check(MPI_Comm_create_group(MPI_COMM_WORLD, group, tag, &comm_), "a communicator");
  MPI_Group_free(&group);
  MPI_Group_free(&world);
  MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
}

std::vector<int> numbered(Index first, Index count) {
  std::vector<int> out(static_cast<std::size_t>(count));
  std::iota(out.begin(), out.end(), static_cast<int>(first));
  return out;
}

}  // namespace mlbench::parallel
