// The one interface through which the harness knows an implementation of inference: the CPU backend, CUDA and ROCm, a
// vendor's own library, and, through an adapter, the float64 reference itself.
//
//   Backend   what it is called, which devices it sees, what it supports; cheap to make, on a machine without the
//   device
//             too
//   Session   one model loaded under one RunConfig, ready to be asked
//   KvCache   a paged key-value cache of that session
//
// Tensors cross it as packed row-major views in host memory. Letters as in models/config.h; N rows announced by the
// cache's last begin_forward; T the type of activations (Session::arithmetic().activations). A backend prints nothing:
// it returns data or throws Error. Request errors carry the codes of docs/errors.md (input.*, kv.*) and leave the
// session and the cache as they were; anything else that goes wrong on the device is ErrorKind::internal with code
// backend.failed, after which the session may only be destroyed. One thread at a time uses a session and its caches.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/group.h"
#include "core/tensor_view.h"
#include "models/kv_cache.h"
#include "models/kv_transfer.h"
#include "models/taps.h"
#include "models/weights.h"

namespace mlbench::backends {

class KvTransport;   // kv_transport.h
class KvTransports;  // the same

// The answer to a question that may be no, with a reason that a user can act on:
// "head_dim 96: attention is built for 64 and 128".
struct Support {
  bool ok = true;
  std::string reason;

  static Support no(std::string why) { return {false, std::move(why)}; }
  explicit operator bool() const { return ok; }
};

// The id of a device that is none: kernels of another processor, executed on this one, to be checked. Of speed nothing
// follows, and nothing is measured on it.
inline constexpr std::string_view kHostExecutor = "host";

struct DeviceInfo {
  std::string id;                  // as typed after --device
  std::string description;         // "AMD EPYC 9754, 2 threads, avx512_bf16"
  std::uint64_t memory_bytes = 0;  // in all; 0: not known
};

// Under what a model is loaded.
struct RunConfig {           // NOLINT(clang-analyzer-optin.performance.Padding): as people name them
  DType dtype = DType::f32;  // storage of weights and cache; the session declares the rest
  std::string device;        // an id of devices(); empty: the backend's choice
  int threads = 0;           // of the host, for backends that compute there; 0: the backend's choice
  // The part of a model that this worker holds: shard `shard` of `tensor_parallel`, stage `stage` of
  // `pipeline_parallel` (spec methods.md, sections 8 and 9).
  Index tensor_parallel = 1, pipeline_parallel = 1;
  Index shard = 0, stage = 0;
  Index first_layer = 0;         // of the part, counted in the whole model
  Index micro_batches = 0;       // pieces that the rows of a forward are cut into, on which stages work side by side;
                                 // 0: as many as there are stages
  std::shared_ptr<Group> group;  // where its workers meet; null for a model in one piece
  // The model is held twice, split alike: one instance computes prompts, the other what follows (spec methods.md,
  // section 10).
  bool disaggregated = false;
  // So many models side by side, split alike, that are asked the same and must answer the same.
  Index replicas = 1;
  // Through what entries of this worker's caches come and go; null: they stay. A session connects each cache that it
  // makes.
  std::shared_ptr<KvTransports> transports;

  [[nodiscard]] bool is_first_stage() const { return stage == 0; }
  [[nodiscard]] bool is_last_stage() const { return stage == pipeline_parallel - 1; }
};

// How a sum of products is rounded. A matrix unit adds `fused` products to the sum so far before it rounds once
// (Blanchard, Higham, Lopez, Mary and Pranesh, "Mixed precision block fused multiply-add", SIAM J. Sci. Comput. 42,
// 2020); one that aligns terms and drops what falls off the end truncates (Fasi, Higham, Mikaitis and Pranesh,
// "Numerical behavior of NVIDIA tensor cores", PeerJ Comput. Sci. 7, 2021), which is to be declared with fused = 1: it
// does so for every term.
struct Summation {
  Index fused = 1;         // products, each exact, that are added before one rounding; at least 1
  bool truncates = false;  // partial sums are cut off instead of rounded to nearest

  friend bool operator==(const Summation&, const Summation&) = default;
};

// The arithmetic that a session declares. Error bounds follow from it and from nothing else: what is not declared is
// not forgiven. All roundings are to nearest, ties to even.
struct Arithmetic {
  DType weights = DType::f32;           // storage; the harness rounds the model's weights to it for the reference
  DType activations = DType::f32;       // T: hidden rows at the interface, and every tap not named below
  DType kv_cache = DType::f32;          // K and V as stored, and the taps k and v
  DType logits = DType::f32;            // what logits are rounded to before they become float32
  DType product_inputs = DType::f32;    // what rows are rounded to where they enter a product with weights
  DType attention_inputs = DType::f32;  // what queries and probabilities are rounded to where they meet K and V
  DType accumulation = DType::f32;      // of sums, and of everything between inputs and outputs
  Summation product_sums = {};          // of products with weights
  Summation attention_sums = {};        // of queries with keys, and of probabilities with values
  bool f32_rope_angles = false;  // frequencies and p * w are rounded to float32; else cosines and sines are those of
                                 // exact angles, rounded once
  Index shards = 1;  // that attention's and the MLP's last products are summed over, as `accumulation` is rounded

  friend bool operator==(const Arithmetic&, const Arithmetic&) = default;
};

// The forward methods of spec methods.md, section 3. x and the result, prefill shape [1, n, h] with n >= N, decode
// shape [b, 1, h] with b = N:
//   prefill         [1, n, h] -> [1, 1, V]   logits of row N - 1
//   decode          [1, 1, h] -> [1, 1, V]
//   batch_prefill   [1, n, h] -> [1, p, V]   logits of the p rows of `logit_positions`, each in [0, N)
//   batch_decode    [b, 1, h] -> [b, 1, V]
//   batch_verify    [1, n, h] -> [1, n, V]   logits of every row
// and of each a form that ends after the final norm and returns the shape of x. Logits are float32, hidden rows T. Rows
// beyond N are padding, of which nothing may be read.
enum class Method {
  prefill,
  decode,
  batch_prefill,
  batch_decode,
  batch_verify,
  prefill_to_last_hidden_states,
  decode_to_last_hidden_states,
  batch_prefill_to_last_hidden_states,
  batch_decode_to_last_hidden_states,
  batch_verify_to_last_hidden_states,
};
inline constexpr int kNumMethods = 10;
[[nodiscard]] std::string_view name(Method method);
[[nodiscard]] std::optional<Method> parse_method(std::string_view text);
[[nodiscard]] bool returns_hidden(Method method);

// Receives intermediate values while a forward runs. With no sink nothing is copied or kept, and the results are
// bitwise those with one.
class TapSink {
 public:
  virtual ~TapSink() = default;
  // False: the tap is not offered.
  [[nodiscard]] virtual bool wants(TapId id) const = 0;
  // `value` lies as models/taps.h says and is valid during the call. Values of a layer come in any order, layers in
  // theirs. k and v are as the cache stores them; T rows are the N rows of the call.
  virtual void take(TapId id, const ConstTensorView& value) = 0;
};

// The paged KV cache. Operations, errors and visible sets are those of spec methods.md, sections 4 to 7 and 10; a
// failed operation throws a request error with a kv.* code and leaves the cache unchanged.
class KvCache {
 public:
  virtual ~KvCache() = default;

  virtual void add_sequence(SeqId id) = 0;
  virtual void remove_sequence(SeqId id) = 0;
  // The child gets the first `pos` entries of the parent; -1: all.
  virtual void fork_sequence(SeqId parent, SeqId child, Index pos) = 0;
  virtual void popn(SeqId id, Index count) = 0;
  virtual void enable_sliding_window_for_seq(SeqId id, Index window, Index sink) = 0;
  // Announces the rows of the next forward: lengths[i] new tokens of sequence ids[i], in this order; with
  // `tree_parents` (one per row, nodes counted from 0 per sequence, -1 follows the last committed token) as nodes of a
  // token tree. One forward, or each part once, follows before end_forward.
  virtual void begin_forward(std::span<const SeqId> ids, std::span<const Index> lengths,
                             const std::optional<std::vector<Index>>& tree_parents) = 0;
  virtual void end_forward() = 0;
  // Keeps the path to leaves[i] as the next tokens of ids[i]; -1 drops the whole tree.
  virtual void commit_accepted_token_tree_nodes(std::span<const SeqId> ids, std::span<const Index> leaves) = 0;
  // In-sequence position of each announced row, [N].
  [[nodiscard]] virtual std::vector<std::int32_t> get_query_positions() const = 0;

  virtual void clear() = 0;
  [[nodiscard]] virtual bool empty() const = 0;
  [[nodiscard]] virtual Index num_available_pages() const = 0;
  [[nodiscard]] virtual Index total_sequence_length() const = 0;
  [[nodiscard]] virtual Index sequence_length(SeqId id) const = 0;

  // Entries [begin, end) of a sequence as stored: both [L, end - begin, Hkv, d] in the cache's type. Outside
  // begin_forward and end_forward, here and below.
  virtual void debug_get_kv(SeqId id, Index begin, Index end, const TensorView& keys,
                            const TensorView& values) const = 0;
  // Overwrites entries [begin, begin + n) of a sequence, given in the same layout and type: how the harness gives
  // attention a past of numbers that it can sum without rounding. Entries shared with another sequence change for both.
  virtual void debug_set_kv(SeqId id, Index begin, const ConstTensorView& keys, const ConstTensorView& values) = 0;

  // ---- disaggregated prefill and decode: entries that another cache computes ----
  // A cache that takes no part in it has all three from here: they throw kv.unsupported.

  // Through what entries come and go; once, before the two below, which are kv.state without. It must outlive the
  // cache.
  virtual void connect(KvTransport& transport);
  // Receiver. The sequence grows by `count` entries, whose slots are returned for the sender; what it had before stays.
  // prefill_chunk_size does not bound them: no rows are computed here. The next operation that needs the sequence
  // (begin_forward, fork_sequence, popn, and these two) first waits until the last of them has come; debug_get_kv and
  // debug_set_kv do not wait, they are kv.state until then. remove_sequence and clear give the transfer up: a sender
  // that goes on is not disturbed, its entries are dropped; it has to stop before the slots are announced to another.
  virtual SlotRuns disagg_prepare_recv(SeqId id, Index count);
  // Sender. Entry p >= begin goes to slot slots[p - begin] of the worker of the instance at `receiver_offset` that has
  // the same layers and heads, at the end_forward of the call that computes it; those that are cached go with the
  // sequence's next one, and at least one more must be still to come (kv.bad_argument). The mark ends with the last
  // slot: until then rows beyond it are refused at begin_forward (kv.bad_argument), and token trees (kv.unsupported), a
  // second mark is kv.state, forks are not marked, and popn takes back entries that are sent again when they are
  // computed anew. Removed before that, the sequence leaves the receiver waiting. parallel.unsupported: the receiver
  // has another split, page size or type. Neither is for caches made with support_sliding_window (kv.unsupported).
  virtual void disagg_mark_send(SeqId id, Index begin, const SlotRuns& slots, Index receiver_offset);
};

// A part of the stack that can run by itself: what turns embedded rows into the input of layer 0 (GPT BigCode adds its
// position embedding, the others nothing), one layer, or the final norm.
struct Part {
  enum class Kind { enter, layer, final_norm };
  Kind kind = Kind::layer;
  Index layer = -1;
};

// A model loaded on a device, or a part of one. Of a part, layers are counted as in the whole model, and
//   forward   takes x in the first stage alone, elsewhere x.data is null; in the last stage, and there unless out.data
//   is
//             null, it gives its result, every shard the same
//   run_part  is asked of all shards of the stage that has the part
//   taps      are the shard's own columns and heads (joining_of() in models/parts.h), and those of the group
// All of its workers are asked the same in the same order.
class Session {
 public:
  virtual ~Session() = default;

  [[nodiscard]] virtual Arithmetic arithmetic() const = 0;
  // Whether the tap is given when asked for; embed, every layer's out, final_norm and logits always are.
  [[nodiscard]] virtual Support gives(Tap tap) const = 0;
  // Whether run_part and debug_set_kv work. Without them a backend is verified chained only.
  [[nodiscard]] virtual Support isolates_layers() const = 0;

  [[nodiscard]] virtual std::unique_ptr<KvCache> create_paged_kv_cache(const KvLimits& limits) = 0;

  // [n] -> T [n, h]; input.token_range for an id outside [0, V).
  virtual void embed(std::span<const std::int32_t> ids, const TensorView& out) = 0;
  // T [n, h] -> f32 [n, V]
  virtual void get_logits(const ConstTensorView& hidden, const TensorView& out) = 0;
  // T [n, h], p positions in [0, n) -> T [p, h]; input.logit_position.
  virtual void batch_select_last_hidden_states(const ConstTensorView& hidden, std::span<const std::int32_t> positions,
                                               const TensorView& out) = 0;
  // Runs the rows that `cache` announced. `logit_positions` for batch_prefill alone. `taps` may be null.
  virtual void forward(Method method, const ConstTensorView& x, std::span<const std::int32_t> logit_positions,
                       KvCache& cache, const TensorView& out, TapSink* taps) = 0;
  // Applies one part to its input T [N, h], given by the caller; a layer appends its keys and values to the cache and
  // attends to what is stored. T [N, h] -> T [N, h].
  virtual void run_part(const Part& part, const ConstTensorView& x, KvCache& cache, const TensorView& out,
                        TapSink* taps) = 0;
  // Returns when everything asked for is done and its results stand in host memory.
  virtual void synchronize() {}
};

// What a run will need, before anything is allocated.
struct MemoryEstimate {
  std::uint64_t weights_bytes = 0;  // beside the model's own copy
  std::uint64_t cache_bytes = 0;
  std::uint64_t scratch_bytes = 0;

  [[nodiscard]] std::uint64_t total() const { return weights_bytes + cache_bytes + scratch_bytes; }
};

// What a device reaches in practice. 0: not measured.
struct DeviceRates {
  double read_bytes_per_second = 0.0;  // of memory, beyond the caches
  double flops_per_second = 0.0;       // of matrix products, a multiplication and its addition being two

  friend bool operator==(const DeviceRates&, const DeviceRates&) = default;
};

class Backend {
 public:
  virtual ~Backend() = default;

  [[nodiscard]] virtual std::string_view name() const = 0;  // as typed after --backend
  // The libraries that it computes with: "oneDNN 2.6.3".
  [[nodiscard]] virtual std::string version() const = 0;
  // What it could run on. Empty where there is nothing: then `why_none` says what was looked for and is missing.
  [[nodiscard]] virtual std::vector<DeviceInfo> devices() const = 0;
  [[nodiscard]] virtual std::string why_none() const { return ""; }
  // Whether the backend can run such a model so; no loading, no allocation. The configuration is the whole model's,
  // here and in memory().
  [[nodiscard]] virtual Support supports(const ModelConfig& config, const RunConfig& run) const = 0;
  // Of a session with one cache of these limits and calls of up to limits.prefill_chunk_size rows.
  [[nodiscard]] virtual MemoryEstimate memory(const ModelConfig& config, const RunConfig& run,
                                              const KvLimits& limits) const = 0;
  // Loads a model that supports() accepts: the part that `run` names, as part_of() makes it. Weights are rounded to
  // run.dtype. The model must outlive the session.
  [[nodiscard]] virtual std::unique_ptr<Session> load(const Model& model, const RunConfig& run) = 0;
  // The rates of run.device in run.dtype, with run.threads: the best of what about `seconds` of trying show, so that a
  // model's share of them is what it leaves unused. Nothing where this is not offered.
  [[nodiscard]] virtual std::optional<DeviceRates> measure_rates(const RunConfig& /*run*/, double /*seconds*/) {
    return std::nullopt;
  }
};

}  // namespace mlbench::backends
