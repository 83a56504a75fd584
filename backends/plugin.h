/* The door for inference backends in shared libraries: `mlbench verify --backend ./libvendor.so`. A library needs
 * nothing of mlbench but this file, C11 or C++ alike.
 *
 * It exports one function, mlbench_plugin_entry, that returns a table of functions. All of them are needed but
 * `synchronize` and `measure_rates`, which may be null.
 *
 * Errors. A call returns MLBENCH_OK, or another status with the caller's mlbench_error filled in. MLBENCH_REQUEST: what
 * was asked for is wrong; the session and the cache are as they were before; `code` is one of those named at the calls
 * ("kv.full", "input.token_range"). MLBENCH_UNAVAILABLE: the device is not there. MLBENCH_FAILED: anything else that
 * went wrong; the session is then destroyed and asked nothing more. `message` is one line of UTF-8: what, where, and
 * what would be right. No C++ exception may leave a call.
 *
 * Ownership. Whoever allocates frees: a library hands out handles (mlbench_session, mlbench_cache: structures of its
 * own) and takes them back in destroy_*, caches before their session; text and values are written into memory of the
 * caller. What the caller passes is valid during the call, except weights: they stay, unchanged and in place, until the
 * session that was loaded from them is destroyed. They may stand in read-only memory.
 *
 * Threads. Calls on a session and its caches come from one thread at a time, calls without a session from one thread
 * at a time too. A tap sink is called from the thread that runs the call, before it returns. By default the library is
 * loaded in a process of its own, where its standard output is standard error and standard input is empty.
 *
 * Versions. abi_version changes when something that stands here changes its meaning or its place. Within a version,
 * structures that begin with struct_size may grow at their end: whoever fills in or makes such a structure says how
 * large it is for him, whoever reads it uses no more than that. (For structures that a call fills in, the caller sets
 * struct_size and defaults; the library writes no more than that.) Structures without struct_size never grow within a
 * version. Values beyond those that an enumeration lists here may be met in a later revision: refuse them.
 *
 * Numbers. All sizes, shapes and places are int64_t; flags are int32_t, 0 or 1. Tensors are packed and row-major, at
 * any alignment: read and write them with memcpy. Letters: h hidden size, L layers, Hq and Hkv query and key-value
 * heads, d head size, I MLP size, V vocabulary, N rows announced by the cache's last begin_forward, S visible entries;
 * T the type of activations, as the session's arithmetic says. */
#ifndef MLBENCH_PLUGIN_H
#define MLBENCH_PLUGIN_H

/* NOLINTBEGIN: C, which has no using, and whose structures are named as its functions are */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MLBENCH_PLUGIN_ABI_VERSION 1u

#if defined(_WIN32)
#define MLBENCH_PLUGIN_EXPORT __declspec(dllexport)
#else
#define MLBENCH_PLUGIN_EXPORT __attribute__((visibility("default")))
#endif

/* ---- errors ---- */

enum mlbench_status {
  MLBENCH_OK = 0,
  MLBENCH_REQUEST = 1,     /* the request is wrong; nothing has changed */
  MLBENCH_UNAVAILABLE = 2, /* the device, or something that it needs, is not there */
  MLBENCH_FAILED = 3       /* anything else */
};

/* Zeroed by the caller; texts end with a zero byte. */
typedef struct mlbench_error {
  uint32_t struct_size;
  uint32_t reserved;
  char code[64];
  char message[1024];
} mlbench_error;

/* ---- types and tensors ---- */

enum mlbench_dtype { MLBENCH_F64 = 0, MLBENCH_F32 = 1, MLBENCH_BF16 = 2, MLBENCH_F16 = 3 };

#define MLBENCH_MAX_RANK 8

typedef struct mlbench_const_tensor {
  int32_t dtype; /* enum mlbench_dtype */
  int32_t rank;
  int64_t shape[MLBENCH_MAX_RANK];
  const void* data;
} mlbench_const_tensor;

/* Memory of the caller that a call fills in. */
typedef struct mlbench_tensor {
  int32_t dtype;
  int32_t rank;
  int64_t shape[MLBENCH_MAX_RANK];
  void* data;
} mlbench_tensor;

/* ---- models ---- */

enum mlbench_architecture {
  MLBENCH_LLAMA = 0,
  MLBENCH_ORION = 1,
  MLBENCH_OLMO = 2,
  MLBENCH_PHI = 3,
  MLBENCH_GPT_BIGCODE = 4
};

enum mlbench_norm {
  MLBENCH_RMS_NORM = 0,        /* with weight: Llama */
  MLBENCH_LAYER_NORM = 1,      /* with weight and bias: Orion, Phi, GPT BigCode */
  MLBENCH_LAYER_NORM_PLAIN = 2 /* without tensors: OLMo */
};

/* SiLU(x) = x / (1 + exp(-x)); GELU by erf, by its tanh approximation, and by the latter with sqrt(2/pi) written
 * 0.7978845608; max(x, 0). */
enum mlbench_activation {
  MLBENCH_SILU = 0,
  MLBENCH_GELU_ERF = 1,
  MLBENCH_GELU_TANH = 2,
  MLBENCH_GELU_FAST = 3,
  MLBENCH_RELU = 4
};

enum mlbench_rope_kind {
  MLBENCH_ROPE_NONE = 0,
  MLBENCH_ROPE_DEFAULT = 1,
  MLBENCH_ROPE_LINEAR = 2,
  MLBENCH_ROPE_DYNAMIC = 3,
  MLBENCH_ROPE_LLAMA3 = 4,
  MLBENCH_ROPE_YARN = 5,
  MLBENCH_ROPE_LONGROPE = 6
};

/* Rotary position embedding in the rotate-half order: values i and i + rotary_dim / 2 of a head are a pair. */
typedef struct mlbench_rope {
  uint32_t struct_size;
  int32_t kind;                   /* enum mlbench_rope_kind */
  double theta;                   /* w_i = theta^(-2i / rotary_dim) before scaling */
  int64_t rotary_dim;             /* leading values of a head that are rotated; even */
  int64_t max_positions;          /* Lmax */
  int64_t original_max_positions; /* Lo: llama3, yarn, longrope */
  double factor;                  /* linear, dynamic, llama3, yarn, longrope */
  double low_freq_factor;         /* llama3 */
  double high_freq_factor;        /* llama3 */
  double beta_fast;               /* yarn */
  double beta_slow;               /* yarn */
  double mscale;                  /* yarn; 0: not given */
  double mscale_all_dim;          /* yarn; 0: not given */
  double attention_factor;        /* yarn, longrope; where has_attention_factor */
  int32_t has_attention_factor;
  int32_t truncate;           /* yarn */
  const double* short_factor; /* longrope, [rotary_dim / 2]; else null */
  const double* long_factor;  /* longrope, [rotary_dim / 2]; else null */
} mlbench_rope;

/* A configuration; always valid. */
typedef struct mlbench_config {
  uint32_t struct_size;
  int32_t architecture;      /* enum mlbench_architecture */
  int64_t hidden_size;       /* h */
  int64_t intermediate_size; /* I */
  int64_t num_layers;        /* L */
  int64_t num_heads;         /* Hq */
  int64_t num_kv_heads;      /* Hkv */
  int64_t head_dim;          /* d; Hq * d may differ from h */
  int64_t vocab_size;        /* V */
  double norm_eps;
  double clip_qkv;        /* OLMo: q, k and v are clipped to +-clip_qkv, where has_clip_qkv */
  int64_t num_positions;  /* GPT BigCode: rows of the position embedding */
  int32_t norm;           /* enum mlbench_norm */
  int32_t activation;     /* enum mlbench_activation */
  int32_t gated_mlp;      /* act(gate) * up, then down; else act(up), then down */
  int32_t parallel_block; /* Phi: attention and MLP side by side, after one norm */
  int32_t tie_word_embeddings;
  int32_t attention_bias;     /* Llama, Orion, OLMo: biases on q, k, v and o. Phi, GPT BigCode always have them */
  int32_t mlp_bias;           /* Llama: biases on gate, up and down. Phi, GPT BigCode always have them */
  int32_t qk_layernorm;       /* Phi */
  int32_t multi_query;        /* GPT BigCode: layout of c_attn */
  int32_t scale_attn_weights; /* GPT BigCode: 0 leaves scores as they are, not divided by sqrt(d) */
  int32_t has_clip_qkv;
  int32_t disaggregation; /* what an engine makes of the model, here and below */
  int64_t context_window_size;
  int64_t prefill_chunk_size;
  int64_t tensor_parallel_shards;
  int64_t pipeline_parallel_stages;
  int64_t max_batch_size;
  const mlbench_rope* rope; /* never null */
  const char* dtype;        /* what the checkpoint says of itself: "bfloat16" */
  const char* json;         /* all of the above as a config.json, in Hugging Face's names and MLC's */
} mlbench_config;

/* A weight under the name of its Hugging Face checkpoint: linear layers [out, in]; vectors have rank 1. The output
 * layer is "lm_head.weight", also where it is tied to the embedding; then both have the same data. */
typedef struct mlbench_weight {
  const char* name;
  mlbench_const_tensor tensor;
} mlbench_weight;

typedef struct mlbench_model {
  uint32_t struct_size;
  uint32_t reserved;
  const mlbench_config* config;
  const mlbench_weight* weights; /* sorted by name, by strcmp */
  int64_t num_weights;
  const char* origin; /* for people: a folder, or a preset and its seed */
} mlbench_model;

/* Where the workers that hold the parts of one model meet while they compute, one group for each worker: shard s of
 * stage p. Valid until the session that was loaded with it is destroyed, to be called from the thread that calls the
 * session, before its call returns. All workers are asked the same in the same order. Where a call fails, what called
 * it fails too. */
typedef struct mlbench_group {
  uint32_t struct_size;
  uint32_t reserved;
  void* context; /* to be passed back */
  /* In place, the sum of what all shards of the stage have: each of them gets the same bits. */
  int32_t (*all_reduce)(void* context, float* values, int64_t count, mlbench_error* error);
  /* Bytes to the same shard of the next stage, and from that of the one before, in order. What was sent may be written
   * again. */
  int32_t (*send_on)(void* context, const void* bytes, int64_t count, mlbench_error* error);
  int32_t (*receive)(void* context, void* bytes, int64_t count, mlbench_error* error);
} mlbench_group;

/* Under what a model is loaded. */
typedef struct mlbench_run {
  uint32_t struct_size;
  int32_t dtype;      /* enum mlbench_dtype: weights are to be rounded to it, the cache is to be kept in it */
  const char* device; /* an id of devices(); "": the library's choice */
  int32_t threads;    /* of the host, for what computes there; 0: the library's choice */
  int32_t reserved;
  /* The part of the model that this process holds; 1, 1, 0, 0 for a whole one. The configuration is the whole model's
   * in supports and memory, the part's in load. */
  int64_t tensor_parallel;
  int64_t pipeline_parallel;
  int64_t shard;
  int64_t stage;
  /* -- added later: a structure may end before this -- */
  int64_t first_layer;        /* of the part, counted in the whole model: so taps and run_part count, weights from 0 */
  int64_t micro_batches;      /* pieces that the rows of a forward are cut into, equal ones as far as that goes (piece i
                                 of m: rows N * i / m up to N * (i + 1) / m); at least 1, and no more than rows */
  const mlbench_group* group; /* where the workers meet; null for a whole model, and where nothing is loaded */
} mlbench_run;

typedef struct mlbench_kv_limits {
  uint32_t struct_size;
  int32_t support_sliding_window;
  int64_t max_batch_size;     /* live sequences */
  int64_t max_total_seq_len;  /* entries over all sequences: ceil(that / page_size) + 1 pages, and 2 * max_batch_size
                                 more with sliding windows */
  int64_t prefill_chunk_size; /* rows of one forward */
  int64_t page_size;
} mlbench_kv_limits;

/* ---- answers ---- */

/* An answer that may be no, with a reason that a user can act on: "head_dim 96: attention is built for 64 and 128". */
typedef struct mlbench_support {
  uint32_t struct_size;
  int32_t ok;
  char reason[1024];
} mlbench_support;

typedef struct mlbench_device {
  char id[64]; /* as typed after --device */
  char description[256];
  uint64_t memory_bytes; /* in all; 0: not known */
} mlbench_device;

/* Bytes that a session takes with one cache of the limits given and calls of up to prefill_chunk_size rows; of weights,
 * what the library allocates beside those that it is given. */
typedef struct mlbench_memory {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t weights_bytes;
  uint64_t cache_bytes;
  uint64_t scratch_bytes;
} mlbench_memory;

/* What a device reaches in practice. Filled in with 0, not measured, before the call. */
typedef struct mlbench_rates {
  uint32_t struct_size;
  uint32_t reserved;
  double read_bytes_per_second; /* of memory, beyond the caches */
  double flops_per_second;      /* of matrix products, a multiplication and its addition being two */
} mlbench_rates;

/* The arithmetic that a session declares: types are enum mlbench_dtype. Error bounds follow from it and from nothing
 * else: what is not declared is not forgiven. All roundings are to nearest, ties to even. */
typedef struct mlbench_arithmetic {
  uint32_t struct_size;
  int32_t weights;          /* storage */
  int32_t activations;      /* T: hidden rows at the interface, and every tap not named below */
  int32_t kv_cache;         /* K and V as stored, and the taps attn.k and attn.v */
  int32_t logits;           /* what logits are rounded to before they become float32 */
  int32_t product_inputs;   /* what rows are rounded to where they enter a product with weights */
  int32_t attention_inputs; /* what queries and probabilities are rounded to where they meet K and V */
  int32_t accumulation;     /* of sums, those over shards too, and of everything between inputs and outputs */
  int32_t f32_rope_angles;  /* 1: frequencies and p * w are rounded to float32; 0: cosines and sines are those of exact
                               angles, rounded once */
  /* How sums are rounded: of products with weights, and of attention's. fused: products, each exact, that a matrix unit
   * adds before it rounds once, at least 1; truncates: 1 where partial sums are cut off instead of rounded (then with
   * fused 1, if that is done for every term). Filled in with 1 and 0 before the call. */
  int32_t product_fused;
  int32_t product_truncates;
  int32_t attention_fused;
  int32_t attention_truncates;
} mlbench_arithmetic;

/* ---- methods and taps ---- */

/* x and the result, prefill shape [1, n, h] with n >= N, decode shape [b, 1, h] with b = N; rows beyond N are padding,
 * of which nothing may be read. Logits are f32, hidden rows T.
 *   prefill         [1, n, h] -> [1, 1, V]   logits of row N - 1
 *   decode          [1, 1, h] -> [1, 1, V]
 *   batch_prefill   [1, n, h] -> [1, p, V]   logits of the p rows of logit_positions, each in [0, N)
 *   batch_decode    [b, 1, h] -> [b, 1, V]
 *   batch_verify    [1, n, h] -> [1, n, V]   logits of every row
 * and of each a form that ends after the final norm and returns the shape of x. */
enum mlbench_method {
  MLBENCH_PREFILL = 0,
  MLBENCH_DECODE = 1,
  MLBENCH_BATCH_PREFILL = 2,
  MLBENCH_BATCH_DECODE = 3,
  MLBENCH_BATCH_VERIFY = 4,
  MLBENCH_PREFILL_TO_LAST_HIDDEN_STATES = 5,
  MLBENCH_DECODE_TO_LAST_HIDDEN_STATES = 6,
  MLBENCH_BATCH_PREFILL_TO_LAST_HIDDEN_STATES = 7,
  MLBENCH_BATCH_DECODE_TO_LAST_HIDDEN_STATES = 8,
  MLBENCH_BATCH_VERIFY_TO_LAST_HIDDEN_STATES = 9
};

/* Named intermediate values (mlbench list taps), in the order of computation. embed, every layer's out, final_norm and
 * logits are given by every session when asked for; logits in the rows that the method returns. */
enum mlbench_tap {
  MLBENCH_TAP_EMBED_TOKEN = 0,    /* T [N, h]    GPT BigCode */
  MLBENCH_TAP_EMBED_POSITION = 1, /* T [N, h]    GPT BigCode */
  MLBENCH_TAP_EMBED = 2,          /* T [N, h]    input of layer 0 */
  MLBENCH_TAP_ROPE_COS = 3,       /* T [N, rotary_dim]    after scaling, halves repeated */
  MLBENCH_TAP_ROPE_SIN = 4,       /* T [N, rotary_dim] */
  MLBENCH_TAP_ATTN_NORM = 5,      /* T [N, h]    here and down to MLBENCH_TAP_LAYER_OUT: of a layer */
  MLBENCH_TAP_QKV_PROJ = 6,       /* T [N, (Hq + 2 Hkv) d]    GPT BigCode: as stored */
  MLBENCH_TAP_Q_PROJ = 7,         /* T [N, Hq * d]    with bias; before clip, norm and rotation */
  MLBENCH_TAP_K_PROJ = 8,         /* T [N, Hkv * d] */
  MLBENCH_TAP_V_PROJ = 9,         /* T [N, Hkv * d] */
  MLBENCH_TAP_Q_NORM = 10,        /* T [Hq, N, d]    Phi with qk_layernorm */
  MLBENCH_TAP_K_NORM = 11,        /* T [Hkv, N, d] */
  MLBENCH_TAP_Q = 12,             /* T [Hq, N, d]    as it enters attention, before scaling */
  MLBENCH_TAP_K = 13,             /* kv_cache type [Hkv, N, d]    as stored */
  MLBENCH_TAP_V = 14,             /* kv_cache type [Hkv, N, d]    as stored */
  MLBENCH_TAP_PROBS = 15,         /* T [Hq, N, S]    after softmax, 0 where not visible; S the longest sequence of the
                                     call with its new rows */
  MLBENCH_TAP_CONTEXT = 16,       /* T [N, Hq * d]    heads side by side */
  MLBENCH_TAP_ATTN_OUT = 17,      /* T [N, h]    after the output projection, with bias */
  MLBENCH_TAP_ATTN_RESIDUAL = 18, /* T [N, h]    layer input + attention; not Phi */
  MLBENCH_TAP_MLP_NORM = 19,      /* T [N, h]    not Phi */
  MLBENCH_TAP_GATE = 20,          /* T [N, I]    gated MLPs */
  MLBENCH_TAP_UP = 21,            /* T [N, I]    the up projection, or the only first one */
  MLBENCH_TAP_ACT = 22,           /* T [N, I]    activation of gate (gated) or of up */
  MLBENCH_TAP_MLP_HIDDEN = 23,    /* T [N, I]    gated: act * up */
  MLBENCH_TAP_MLP_OUT = 24,       /* T [N, h]    after the last projection, with bias */
  MLBENCH_TAP_LAYER_OUT = 25,     /* T [N, h]    layer output with residuals */
  MLBENCH_TAP_FINAL_NORM = 26,    /* T [N, h] */
  MLBENCH_TAP_LOGITS = 27,        /* f32 [p, V]    of the rows that the method returns */
  MLBENCH_NUM_TAPS = 28,          /* of a model in one piece */
  /* What the workers of a split model hand each other. */
  MLBENCH_TAP_ATTN_PART = 28,  /* f32 [N, h]    the shard's summand of attn_out */
  MLBENCH_TAP_MLP_PART = 29,   /* f32 [N, h]    and of mlp_out */
  MLBENCH_TAP_BLOCK_PART = 30, /* f32 [N, h]    Phi: its summand of both together */
  MLBENCH_TAP_BLOCK_SUM = 31,  /* f32 [N, h]    Phi: their sum over the shards */
  MLBENCH_TAP_STAGE_IN = 32,   /* T [N, h]    rows as the stage received them; the layer is its first */
  MLBENCH_NUM_TAPS_OF_WORKERS = 33
};

/* Receives taps while a forward or a part runs. A null sink: nothing is asked for, and results are bitwise the same. */
typedef struct mlbench_tap_sink {
  void* context; /* to be passed back */
  /* 0: the tap need not be offered. `layer` is -1 outside the layers. */
  int32_t (*wants)(void* context, int32_t tap, int64_t layer);
  /* The value is copied during the call. */
  void (*take)(void* context, int32_t tap, int64_t layer, const mlbench_const_tensor* value);
} mlbench_tap_sink;

/* A part of the stack that can run by itself: what turns embedded rows into the input of layer 0 (GPT BigCode adds its
 * position embedding, the others nothing), one layer, or the final norm. */
enum mlbench_part { MLBENCH_PART_ENTER = 0, MLBENCH_PART_LAYER = 1, MLBENCH_PART_FINAL_NORM = 2 };

/* ---- the table ---- */

typedef struct mlbench_session mlbench_session; /* a model loaded on a device */
typedef struct mlbench_cache mlbench_cache;     /* a paged key-value cache of a session */

typedef struct mlbench_plugin {
  uint32_t abi_version; /* MLBENCH_PLUGIN_ABI_VERSION */
  uint32_t struct_size; /* sizeof(mlbench_plugin) */
  const char* name;     /* of the backend, for reports: "vendor-npu"; static */

  /* -- without a session. Cheap, also on a machine without the device; nothing is loaded. -- */

  /* The libraries that it computes with: "vendorblas 2.1". Texts are cut to `capacity` bytes, zero byte included. */
  int32_t (*version)(char* text, uint64_t capacity, mlbench_error* error);
  /* What it could run on: writes up to `capacity` devices, and to *count how many there are. */
  int32_t (*devices)(mlbench_device* devices, uint64_t capacity, uint64_t* count, mlbench_error* error);
  /* Where there are none: what was looked for and is missing. */
  int32_t (*why_none)(char* text, uint64_t capacity, mlbench_error* error);
  /* Whether it can run such a model so. support->ok is 1 when called. */
  int32_t (*supports)(const mlbench_config* config, const mlbench_run* run, mlbench_support* support,
                      mlbench_error* error);
  int32_t (*memory)(const mlbench_config* config, const mlbench_run* run, const mlbench_kv_limits* limits,
                    mlbench_memory* memory, mlbench_error* error);
  /* Of a model that supports() accepts. Several sessions may exist. */
  int32_t (*load)(const mlbench_model* model, const mlbench_run* run, mlbench_session** session, mlbench_error* error);

  /* -- sessions -- */

  void (*destroy_session)(mlbench_session* session);
  int32_t (*arithmetic)(mlbench_session* session, mlbench_arithmetic* arithmetic, mlbench_error* error);
  /* Whether the tap is given when asked for. */
  int32_t (*gives)(mlbench_session* session, int32_t tap, mlbench_support* support, mlbench_error* error);
  /* Whether run_part and debug_set_kv work. Without them a backend is verified chained only. */
  int32_t (*isolates_layers)(mlbench_session* session, mlbench_support* support, mlbench_error* error);
  /* kv.unsupported for limits that it cannot keep. */
  int32_t (*create_cache)(mlbench_session* session, const mlbench_kv_limits* limits, mlbench_cache** cache,
                          mlbench_error* error);
  /* n ids -> T [n, h]; input.token_range for an id outside [0, V). */
  int32_t (*embed)(mlbench_session* session, const int32_t* ids, int64_t num_ids, const mlbench_tensor* out,
                   mlbench_error* error);
  /* T [n, h] -> f32 [n, V] */
  int32_t (*get_logits)(mlbench_session* session, const mlbench_const_tensor* hidden, const mlbench_tensor* out,
                        mlbench_error* error);
  /* T [n, h], p positions in [0, n) -> T [p, h]; input.logit_position */
  int32_t (*batch_select_last_hidden_states)(mlbench_session* session, const mlbench_const_tensor* hidden,
                                             const int32_t* positions, int64_t num_positions, const mlbench_tensor* out,
                                             mlbench_error* error);
  /* Runs the rows that `cache` announced. Positions for batch_prefill alone. `taps` may be null. Of a part, x->data is
   * null but in the first stage, out->data but in the last, where it may be null too. input.shape, kv.state */
  int32_t (*forward)(mlbench_session* session, int32_t method, const mlbench_const_tensor* x,
                     const int32_t* logit_positions, int64_t num_positions, mlbench_cache* cache,
                     const mlbench_tensor* out, const mlbench_tap_sink* taps, mlbench_error* error);
  /* Applies one part (enum mlbench_part; `layer` for that kind alone) to T [N, h], given by the caller; a layer appends
   * its keys and values to the cache and attends to what is stored. -> T [N, h]. Of a split model, asked of all shards
   * of the stage that has the part. */
  int32_t (*run_part)(mlbench_session* session, int32_t part, int64_t layer, const mlbench_const_tensor* x,
                      mlbench_cache* cache, const mlbench_tensor* out, const mlbench_tap_sink* taps,
                      mlbench_error* error);
  /* Returns when everything asked for is done and its results stand in host memory. May be null. */
  int32_t (*synchronize)(mlbench_session* session, mlbench_error* error);

  /* -- caches. Sequence ids are >= 0. Not between begin_forward and end_forward (kv.state), but for the calls that say
   * so. Everywhere: kv.unknown_seq, kv.bad_argument. -- */

  void (*destroy_cache)(mlbench_cache* cache); /* also between begin_forward and end_forward */
  int32_t (*add_sequence)(mlbench_cache* cache, int64_t id, mlbench_error* error); /* kv.duplicate_seq */
  int32_t (*remove_sequence)(mlbench_cache* cache, int64_t id, mlbench_error* error);
  /* The child gets the first `pos` entries of the parent; -1: all. kv.duplicate_seq, kv.uncommitted_tree, kv.full */
  int32_t (*fork_sequence)(mlbench_cache* cache, int64_t parent, int64_t child, int64_t pos, mlbench_error* error);
  /* Drops the last `count` entries. */
  int32_t (*popn)(mlbench_cache* cache, int64_t id, int64_t count, mlbench_error* error);
  /* After each forward the sequence keeps its first `sink` entries and the last ones, `window` in all. Entries are
   * renumbered, and keys then count as rotated by their new number. kv.unsupported */
  int32_t (*enable_sliding_window)(mlbench_cache* cache, int64_t id, int64_t window, int64_t sink,
                                   mlbench_error* error);
  /* Announces the rows of the next forward: lengths[i] new tokens of sequence ids[i], in this order; with
   * `tree_parents` (else null; one per row, nodes counted from 0 per sequence, -1 follows the last committed entry) as
   * nodes of a token tree: a node's position is the number of committed entries plus its depth, and it sees these, its
   * ancestors and itself. At most 256 nodes per sequence; a second announcement extends an uncommitted tree. One
   * forward, or each part once, follows before end_forward. kv.full, kv.chunk_too_large, kv.uncommitted_tree */
  int32_t (*begin_forward)(mlbench_cache* cache, const int64_t* ids, int64_t num_ids, const int64_t* lengths,
                           int64_t num_lengths, const int64_t* tree_parents, int64_t num_parents, mlbench_error* error);
  int32_t (*end_forward)(mlbench_cache* cache, mlbench_error* error); /* kv.state without begin_forward */
  /* Keeps the path to leaves[i] as the next entries of ids[i], which are those of the last begin_forward in its order;
   * -1 drops the whole tree. */
  int32_t (*commit_tree)(mlbench_cache* cache, const int64_t* ids, int64_t num_ids, const int64_t* leaves,
                         int64_t num_leaves, mlbench_error* error);
  /* In-sequence position of each announced row: writes up to `capacity`, and to *count how many there are, N. Between
   * begin_forward and end_forward only. */
  int32_t (*get_query_positions)(mlbench_cache* cache, int32_t* positions, int64_t capacity, int64_t* count,
                                 mlbench_error* error);
  int32_t (*clear)(mlbench_cache* cache, mlbench_error* error); /* at any time */
  /* At any time, down to sequence_length. */
  int32_t (*empty)(mlbench_cache* cache, int32_t* empty, mlbench_error* error); /* 1: no sequence is live */
  int32_t (*num_available_pages)(mlbench_cache* cache, int64_t* count, mlbench_error* error);
  int32_t (*total_sequence_length)(mlbench_cache* cache, int64_t* count, mlbench_error* error);
  int32_t (*sequence_length)(mlbench_cache* cache, int64_t id, int64_t* count, mlbench_error* error);
  /* Entries [begin, end) of a sequence as stored: both [L, end - begin, Hkv, d] in the cache's type. */
  int32_t (*debug_get_kv)(mlbench_cache* cache, int64_t id, int64_t begin, int64_t end, const mlbench_tensor* keys,
                          const mlbench_tensor* values, mlbench_error* error);
  /* Overwrites entries [begin, begin + n). Entries shared with another sequence change for both. */
  int32_t (*debug_set_kv)(mlbench_cache* cache, int64_t id, int64_t begin, const mlbench_const_tensor* keys,
                          const mlbench_const_tensor* values, mlbench_error* error);

  /* -- added later: a table may end before this -- */

  /* Without a session. The rates of run->device in run->dtype, with run->threads: the best of what about `seconds` of
   * trying show. May be null, or leave both at 0, where this is not offered; then no share of them is reported. */
  int32_t (*measure_rates)(const mlbench_run* run, double seconds, mlbench_rates* rates, mlbench_error* error);
} mlbench_plugin;

#define MLBENCH_PLUGIN_ENTRY "mlbench_plugin_entry"

/* What a library defines and exports. The table is static. */
MLBENCH_PLUGIN_EXPORT const mlbench_plugin* mlbench_plugin_entry(void);

#ifdef __cplusplus
}
#endif

/* NOLINTEND */

#endif
