// Every tap of every layer.
#include <set>

#include <gmock/gmock.h>

#include "models/presets.h"
#include "models/taps.h"

namespace mlbench {
namespace {

ModelConfig small(Architecture architecture, Index layers) {
  return preset_config(small_preset(architecture),
                       {{architecture == Architecture::gpt_bigcode ? "n_layer" : "num_hidden_layers", layers}});
}

TEST(AllTaps, AreThoseOfLayersOncePerLayerAndTheOthersOnce) {
  for (const Architecture architecture : kArchitectures) {
    for (const Index layers : {1, 2, 7}) {
      const ModelConfig config = small(architecture, layers);
      Index outside = 0, inside = 0;
      for (const TapSpec& spec : tap_specs(config)) ++(per_layer(spec.tap) ? inside : outside);
      const std::vector<TapId> all = all_taps(config);
      EXPECT_EQ(static_cast<Index>(all.size()), outside + layers * inside) << name(architecture);
      std::set<std::string> texts;
      for (const TapId id : all) texts.insert(to_string(id));
      EXPECT_EQ(texts.size(), all.size()) << "each once";
    }
  }
}

// Layers follow each other, and in each of them taps stand as in the inventory.
TEST(AllTaps, AreInTheOrderOfComputation) {
  for (const Architecture architecture : kArchitectures) {
    const std::vector<TapId> all = all_taps(small(architecture, 3));
    for (std::size_t i = 1; i < all.size(); ++i) {
      const TapId a = all[i - 1], b = all[i];
      const bool forward = a.layer == b.layer ? a.tap < b.tap
                           : a.layer < 0      ? b.layer == 0 && a.tap < Tap::attn_norm
                           : b.layer < 0      ? a.layer == 2 && b.tap > Tap::layer_out
                                              : b.layer == a.layer + 1 && a.tap == Tap::layer_out;
      EXPECT_TRUE(forward) << to_string(a) << " before " << to_string(b);
    }
    EXPECT_EQ(to_string(all.back()), "logits");
    EXPECT_EQ(to_string(all[all.size() - 2]), "final_norm");
  }
}

}  // namespace
}  // namespace mlbench
