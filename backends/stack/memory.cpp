#include "backends/stack/memory.h"

#include <algorithm>

#include "backends/paging/page_table.h"
#include "models/tensor_inventory.h"

namespace mlbench::stack {

std::uint64_t product_of(std::initializer_list<double> factors) {
  double product = 1.0;
  for (const double factor : factors) product *= factor;
  return static_cast<std::uint64_t>(std::min(product, 0x1p62));
}

std::uint64_t cache_bytes(const ModelConfig& config, DType dtype, const KvLimits& limits) {
  const paging::PageTable table(limits, true);
  return product_of({static_cast<double>(table.num_pages()), static_cast<double>(limits.page_size),
                     static_cast<double>(kv_values_per_token(config)), static_cast<double>(size_bytes(dtype))});
}

}  // namespace mlbench::stack
