// The kernels of a device, behind one interface: backends/gpu/kernels/ holds each of them once, in a source that nvcc,
// hipcc and the host's compiler all take; a Kernels object launches those that its compiler made.
#pragma once

#include "backends/gpu/calls.h"

namespace mlbench::gpu {

class Stream;

// Work is queued in the stream and done in order. What a kernel computes, and how it is rounded, stands at its head.
class Kernels {
 public:
  virtual ~Kernels() = default;

  virtual void embed(Stream& stream, const EmbedCall& call) = 0;
  virtual void add_positions(Stream& stream, const AddPositionsCall& call) = 0;
  virtual void normalize(Stream& stream, const NormCall& call) = 0;
  virtual void add_bias(Stream& stream, const BiasCall& call) = 0;
  virtual void rotate_and_append(Stream& stream, const QkvCall& call) = 0;
  virtual void attend_tiles(Stream& stream, const TiledAttentionCall& call) = 0;
  virtual void attend_rows(Stream& stream, const SplitAttentionCall& call) = 0;
  virtual void activate(Stream& stream, const ActivationCall& call) = 0;
  virtual void gather_rows(Stream& stream, const GatherRowsCall& call) = 0;
  virtual void widen(Stream& stream, const WidenCall& call) = 0;
  virtual void copy_slots(Stream& stream, const CopySlotsCall& call) = 0;
  virtual void export_entries(Stream& stream, const EntriesCall& call) = 0;
  virtual void import_entries(Stream& stream, const EntriesCall& call) = 0;

  // Whether attend_tiles() rounds queries and probabilities to this type, for heads of this width, as tensor cores take
  // them; their sums are those of products then.
  [[nodiscard]] virtual bool rounds_attention_inputs(DType stored, Index width) const = 0;
};

}  // namespace mlbench::gpu
