// A small golden of ours, and ways to change one as a user's other tools would.
#pragma once

#include <string>

#include "golden/golden_writer.h"

namespace mlbench::test {

[[nodiscard]] golden::Manifest example_manifest();

// Values that repeat nowhere and need all their bits.
[[nodiscard]] Tensor<double> example_values(const Shape& shape, double start);

// Two steps: a prefill of two sequences, 3 and 2 rows, with taps embed [5, 8], layers.0.attn.q [2, 5, 4] and logits
// [5, 11], limits of logits; a batch_decode, 2 rows, with logits.
void write_example_steps(golden::GoldenWriter& writer);
void write_example_golden(const std::string& path);

// Of any object; the root's can also be changed with tests/support/hdf5_edit.h.
void remove_attribute_of(const std::string& path, const std::string& object, const std::string& name);
// Puts a string in the place of whatever there is.
void set_attribute_of(const std::string& path, const std::string& object, const std::string& name,
                      const std::string& value);
// Makes the root's digest right again after attributes were changed.
void renew_digest(const std::string& path);

}  // namespace mlbench::test
