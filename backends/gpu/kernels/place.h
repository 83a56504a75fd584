// Where a thread or block stands, and how many there are: the three numbers of a launch.
#pragma once

namespace mlbench::gpu {

struct Place {
  int x = 1, y = 1, z = 1;
};

}  // namespace mlbench::gpu
