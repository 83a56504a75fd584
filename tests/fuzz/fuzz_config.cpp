// parse_config over any text: it returns a configuration that can be listed, or throws one kind of error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "models/config_reader.h"
#include "models/method_specs.h"
#include "models/taps.h"
#include "models/tensor_inventory.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mlbench;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  fuzz::expect_request_errors([&] {
    const ModelConfig config = parse_config(text, "fuzz");
    fuzz::require(config.num_layers > 0 && config.vocab_size > 0 && config.head_dim > 0 && config.num_kv_heads > 0 &&
                      config.num_heads % config.num_kv_heads == 0 && config.norm_eps > 0.0,
                  "a configuration that was read is valid");
    fuzz::require(config.context_window_size > 0 && config.prefill_chunk_size > 0, "limits are positive");
    (void)tap_specs(config);
    (void)parameter_count(config);
    (void)kv_values_per_token(config);
    if (config.pipeline_parallel_stages < 1000) (void)method_listing(config, DType::f16).dump();
  });
  return 0;
}
