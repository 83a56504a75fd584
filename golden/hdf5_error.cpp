#include "golden/hdf5_error.h"

#include <hdf5.h>

namespace mlbench::golden {

std::string library_reason() {
  std::string reason;
  const auto visit = [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
    if (error->desc != nullptr) *static_cast<std::string*>(out) = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, visit, &reason);
  return reason.empty() ? "unknown reason" : reason;
}

}  // namespace mlbench::golden
