#include "cli/version.h"

#include <cblas.h>
#include <fmt/format.h>
#include <hdf5.h>
#include <CLI/Version.hpp>
#include <nlohmann/json.hpp>
#include <pugixml.hpp>

#include "cli/backends.h"

namespace mlbench::cli {
namespace {

// As the library says at run time.
std::string onednn_version() {
  const std::string text = make_backend("cpu")->version();
  return text.substr(text.find(' ') + 1);
}

}  // namespace

std::string program_version() { return MLBENCH_VERSION; }

std::string version_text() {
  return fmt::format(
      "mlbench {}\n"
      "compiler       {} {}, {}\n"
      "OpenBLAS       {}\n"
      "HDF5           {}.{}.{}\n"
      "nlohmann/json  {}.{}.{}\n"
      "oneDNN         {}\n"
      "pugixml        {}.{}\n"
      "CLI11          {}\n"
      "fmt            {}.{}.{}\n",
      MLBENCH_VERSION,
#ifdef __clang__
      "Clang", __clang_version__,
#else
      "GCC", __VERSION__,
#endif
      MLBENCH_BUILD_TYPE, openblas_get_config(), H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE,
      NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR, NLOHMANN_JSON_VERSION_PATCH, onednn_version(),
      PUGIXML_VERSION / 1000, PUGIXML_VERSION / 10 % 100, CLI11_VERSION, FMT_VERSION / 10000, FMT_VERSION / 100 % 100,
      FMT_VERSION % 100);
}

}  // namespace mlbench::cli
