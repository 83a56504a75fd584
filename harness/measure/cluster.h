// A file that describes a cluster, as docs/examples/eight-nodes.json; docs/scaling.md lists its fields.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/prediction.h"

namespace mlbench::measure {

// Reads a result of mlbench probe --json. This room knows no formats of results.
using ReadProbes = std::function<std::vector<ProbeResult>(const std::string& path)>;

// `where` is the file's path: its field "probe" is taken relative to its folder. Throws cluster.format (a request
// error) that names the place and what would be right, and what read_probes throws.
[[nodiscard]] Cluster read_cluster(const std::string& text, const std::string& where, const ReadProbes& read_probes);

// What a device reaches with weights of that type. Throws cluster.format where the file does not say; it names `where`.
[[nodiscard]] const ProbeResult& rates_of(const Cluster& cluster, DType dtype, const std::string& where);

}  // namespace mlbench::measure
