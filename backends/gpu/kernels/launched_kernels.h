// All kernels behind the interface, of one target and one width of its warps.
#pragma once

#include "backends/gpu/kernels.h"
#include "backends/gpu/kernels/activations.h"
#include "backends/gpu/kernels/attention_rows.h"
#include "backends/gpu/kernels/attention_tiles.h"
#include "backends/gpu/kernels/embedding.h"
#include "backends/gpu/kernels/norms.h"
#include "backends/gpu/kernels/pages.h"
#include "backends/gpu/kernels/qkv.h"
#include "backends/gpu/kernels/rows.h"

namespace mlbench::gpu::MLBENCH_GPU_TARGET {

// Types of which a device's matrix units take every value: those that it has attention's products made by.
struct TileTypes {
  bool bf16 = true, f16 = true;
};

template <int W>
class LaunchedKernels final : public Kernels {
 public:
  explicit LaunchedKernels(TileTypes tile_types = {}) : tile_types_(tile_types) {}

  void embed(Stream& stream, const EmbedCall& call) override { launch_embed<W>(stream, call); }
  void add_positions(Stream& stream, const AddPositionsCall& call) override { launch_add_positions<W>(stream, call); }
  void normalize(Stream& stream, const NormCall& call) override { launch_normalize<W>(stream, call); }
  void add_bias(Stream& stream, const BiasCall& call) override { launch_add_bias<W>(stream, call); }
  void rotate_and_append(Stream& stream, const QkvCall& call) override { launch_rotate_and_append<W>(stream, call); }
  void attend_tiles(Stream& stream, const TiledAttentionCall& call) override {
    const CacheView& cache = call.attention.cache;
    launch_attend_tiles<W>(stream, call, rounds_attention_inputs(cache.stored, cache.width));
  }
  void attend_rows(Stream& stream, const SplitAttentionCall& call) override { launch_attend_rows<W>(stream, call); }
  void activate(Stream& stream, const ActivationCall& call) override { launch_activate<W>(stream, call); }
  void gather_rows(Stream& stream, const GatherRowsCall& call) override { launch_gather_rows<W>(stream, call); }
  void widen(Stream& stream, const WidenCall& call) override { launch_widen<W>(stream, call); }
  void copy_slots(Stream& stream, const CopySlotsCall& call) override { launch_copy_slots<W>(stream, call); }
  void export_entries(Stream& stream, const EntriesCall& call) override { launch_export_entries<W>(stream, call); }
  void import_entries(Stream& stream, const EntriesCall& call) override { launch_import_entries<W>(stream, call); }

  [[nodiscard]] bool rounds_attention_inputs(DType stored, Index width) const override {
    const bool taken = stored == DType::bf16 ? tile_types_.bf16 : tile_types_.f16;
    return taken && tile_products_take<W>(stored, width);
  }

 private:
  TileTypes tile_types_;
};

}  // namespace mlbench::gpu::MLBENCH_GPU_TARGET
