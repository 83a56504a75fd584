// Products by a vendor's library.
#pragma once

#include "backends/gpu/runtime.h"

namespace mlbench::gpu::vendor {

// On the device that is current where this is made. They share a workspace, hence: in one stream at a time.
template <class Api>
class Products {
 public:
  virtual ~Products() = default;
  // Queues it. False: without the bias, which the library adds to no such product.
  [[nodiscard]] virtual bool multiply(typename Api::Stream stream, const ProductCall& call) = 0;
};

}  // namespace mlbench::gpu::vendor
