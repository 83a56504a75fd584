// Makes and changes HDF5 files, as a user's other tools would.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace mlbench::test {

// Adds `delta` to one value of a float64 dataset.
void add_to_element(const std::string& file, const std::string& dataset, Index element, double delta);
void set_element(const std::string& file, const std::string& dataset, Index element, double value);
// Removes a link.
void remove_dataset(const std::string& file, const std::string& dataset);
// Creates groups on the way as needed. The file is created when absent.
void write_dataset(const std::string& file, const std::string& dataset, const Shape& shape,
                   const std::vector<double>& values);
void write_dataset(const std::string& file, const std::string& dataset, const Shape& shape,
                   const std::vector<std::int64_t>& values);

// Links under `name`; the target of a soft or external one need not exist.
void add_hard_link(const std::string& file, const std::string& existing, const std::string& name);
void add_soft_link(const std::string& file, const std::string& target, const std::string& name);
void add_external_link(const std::string& file, const std::string& other_file, const std::string& target,
                       const std::string& name);
// float64 datasets whose values stand in other files, or nowhere: a claim of a shape.
void add_virtual_dataset(const std::string& file, const std::string& other_file, const std::string& source,
                         const Shape& shape, const std::string& name);
void add_externally_stored_dataset(const std::string& file, const std::string& raw_file, const Shape& shape,
                                   const std::string& name);
void claim_dataset(const std::string& file, const Shape& shape, const std::string& name);
// A string attribute of the root; replaces one of that name.
void write_attribute(const std::string& file, const std::string& name, const std::string& value);
void remove_attribute(const std::string& file, const std::string& name);

}  // namespace mlbench::test
