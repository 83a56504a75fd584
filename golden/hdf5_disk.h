// How HDF5 reaches the disk when we write: through a driver of our own (HDF5's "virtual file layer") that never tells
// the library of a failure. The library cannot take one: after a failed write, version 1.10 crashes when the file is
// closed. Here the first failure is kept aside for the writer to ask for, and what comes after it goes nowhere.
#pragma once

#include <string>

#include "golden/hdf5_handle.h"

namespace mlbench::golden {

// The fate of one file; it must outlive the file's handle.
struct DiskState {
  int error = 0;  // errno of the first call that failed
};

// A new, empty file under `name`, in the place of whatever was there. `creation` and `access` are property lists; the
// driver of `access` is set here. May be invalid even where state.error is 0: see library_reason().
[[nodiscard]] FileHandle create_on_disk(const std::string& name, hid_t creation, hid_t access, DiskState& state);

}  // namespace mlbench::golden
