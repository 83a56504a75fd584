// Makes and changes HDF5 files, as a user's other tools would.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace mlbench::test {

// Adds `delta` to one value of a float64 dataset.
void add_to_element(const std::string& file, const std::string& dataset, Index element, double delta);
// Removes a link.
void remove_dataset(const std::string& file, const std::string& dataset);
// Creates groups on the way as needed. The file is created when absent.
void write_dataset(const std::string& file, const std::string& dataset, const Shape& shape,
                   const std::vector<double>& values);
void write_dataset(const std::string& file, const std::string& dataset, const Shape& shape,
                   const std::vector<std::int64_t>& values);

}  // namespace mlbench::test
