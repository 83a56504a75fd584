# MPI, for models that are split over processes (mlbench-rank): MLBENCH_HAS_MPI says whether that is built. Open MPI and
# MPICH alike.
set(MLBENCH_MPI AUTO CACHE STRING "Build ranks: ON, OFF, or AUTO, where an MPI is found")
set_property(CACHE MLBENCH_MPI PROPERTY STRINGS AUTO ON OFF)
set(MLBENCH_HAS_MPI FALSE)

if(MLBENCH_MPI)
  set(MPI_CXX_SKIP_MPICXX TRUE)
  find_package(MPI QUIET COMPONENTS CXX)
  if(MPI_CXX_FOUND)
    set(MLBENCH_HAS_MPI TRUE)
    message(STATUS "MPI ${MPI_CXX_VERSION}: ${MPI_CXX_LIBRARIES}")
  elseif(MLBENCH_MPI STREQUAL "AUTO")
    message(STATUS "MPI: not found (apt install libopenmpi-dev); models are run in one piece alone")
  else()
    message(FATAL_ERROR "MPI: not found; -DMLBENCH_MPI=OFF builds without it")
  endif()
endif()
