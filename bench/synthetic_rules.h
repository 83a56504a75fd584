// What the rules of one series are worth: warm-up, stopping, and how many independent samples it stands for.
#pragma once

#include "bench/synthetic_series.h"
#include "bench/synthetic_tables.h"

namespace mlbench::measure {

void print_warmup(const Options& options);
void print_stopping(const Options& options);
void print_worth(const Options& options);

// The times of a run that stops as those of `mlbench bench` do, however long that takes.
[[nodiscard]] Times until_precise(const Noise& noise, Dice& dice);

}  // namespace mlbench::measure
