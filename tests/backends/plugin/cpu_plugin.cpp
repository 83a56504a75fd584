// The CPU backend as a shared library.
#include "backends/cpu/cpu_backend.h"
#include "backends/plugin/exporter.h"

MLBENCH_EXPORT_BACKEND("cpu-plugin", mlbench::cpu::make_cpu_backend)
