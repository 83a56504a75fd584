#include "cli/version.h"

#include <cblas.h>
#include <fmt/format.h>
#include <hdf5.h>
#include <CLI/Version.hpp>
#include <nlohmann/json.hpp>

namespace mlbench::cli {

std::string program_version() { return MLBENCH_VERSION; }

std::string version_text() {
  return fmt::format(
      "mlbench {}\n"
      "compiler       {} {}, {}\n"
      "OpenBLAS       {}\n"
      "HDF5           {}.{}.{}\n"
      "nlohmann/json  {}.{}.{}\n"
      "CLI11          {}\n"
      "fmt            {}.{}.{}\n",
      MLBENCH_VERSION,
#ifdef __clang__
      "Clang", __clang_version__,
#else
      "GCC", __VERSION__,
#endif
      MLBENCH_BUILD_TYPE, openblas_get_config(), H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE,
      NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR, NLOHMANN_JSON_VERSION_PATCH, CLI11_VERSION,
      FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100);
}

}  // namespace mlbench::cli
